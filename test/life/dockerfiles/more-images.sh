# The same for what few images need: PHP's, the browser's, and npm.

ln -s php8.4 usr/bin/php
for ini in usr/share/php8.4-*/*/*.ini; do cp "$ini" "etc/php/8.4/cli/conf.d/20-${ini##*/}"; done
cat > usr/local/bin/docker-php-entrypoint <<'END'
#!/bin/sh
set -e

# first arg is `-f` or `--some-option`
if [ "${1#-}" != "$1" ]; then
	set -- php "$@"
fi

exec "$@"
END
chmod 755 usr/local/bin/docker-php-entrypoint

mkdir ms-playwright
ln -s ../usr/bin/rsvg-convert ms-playwright/renderer

ln -s ../lib/node_modules/npm/bin/npm-cli.js usr/local/bin/npm
ln -s ../lib/node_modules/npm/bin/npx-cli.js usr/local/bin/npx
rm -rf usr/local/lib/node_modules/npm/docs usr/local/lib/node_modules/npm/man
