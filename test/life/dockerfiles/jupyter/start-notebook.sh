#!/bin/bash
set -e
exec python3 server.py --port="${JUPYTER_PORT}" "$@"
