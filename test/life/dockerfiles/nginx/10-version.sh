#!/bin/sh
echo "started by $(id -un) with $NGINX_VERSION" > /usr/share/nginx/html/version.txt
