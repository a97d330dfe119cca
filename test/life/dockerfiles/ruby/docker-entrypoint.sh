#!/bin/bash
set -e

# Remove a potentially pre-existing server.pid.
rm -f tmp/pids/server.pid
mkdir -p tmp

if [ "${*: -2:1}" == "--server" ]; then
  echo "by $(whoami) for $RACK_ENV" > tmp/migrated
fi

exec "$@"
