# What a registry's images hold beside Debian's packages, executed in the tree of them: what installing would have configured, and what
# the images of Docker's library bring, their entry points and users. Nothing of the tree is executed but Python, which compiles its modules.

rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/lintian usr/share/bug usr/share/icons \
  dev/* var/lib/dpkg var/lib/apt var/cache/* var/log/* \
  usr/share/nodejs/@types usr/share/nodejs/es-abstract usr/share/nodejs/qs/logos usr/lib/ruby/gems/3.3.0/gems/* \
  usr/share/zoneinfo/[!E]*/ usr/lib/php/*/fileinfo.so usr/share/php8.4-common/common/fileinfo.ini usr/lib/python3/dist-packages/tornado/test

cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
user() { # name uid gid home
  echo "$1:x:$2:$3::$4:/bin/bash" >> etc/passwd
  mkdir -p "./$4"
  chown "$2:$3" "./$4"
}
echo 'nginx:x:101:' >> etc/group
echo 'node:x:1000:' >> etc/group
echo 'pwuser:x:1001:' >> etc/group
user nginx 101 101 /var/cache/nginx
user node 1000 1000 /home/node
user jovyan 1000 100 /home/jovyan
user pwuser 1001 1001 /home/pwuser
sed 's/:.*/:*:20000:0:99999:7:::/' etc/passwd > etc/shadow
sed 's/:.*/:*::/' etc/group > etc/gshadow
chmod 640 etc/shadow etc/gshadow
mkdir -p usr/local/bin root tmp run var/tmp var/www/html
chmod 1777 tmp var/tmp
ln -sf bash usr/bin/rbash
ln -sf mawk usr/bin/awk
ln -sf /proc/mounts etc/mtab
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
ldconfig -r .

ln -s ../../bin/python3 usr/local/bin/python
ln -s ../../bin/pip3 usr/local/bin/pip
rm usr/lib/python3.13/EXTERNALLY-MANAGED
chroot . python3 -m compileall -q /usr/lib/python3 &
compiling=$!
chroot . python3 -m compileall -q /usr/lib/python3.13
wait "$compiling"

cat > usr/local/bin/docker-entrypoint.sh <<'END'
#!/bin/sh
set -e

# Run command with node if the first argument contains a "-" or is not a system command. The last
# part inside the "{}" is a workaround for the following bug in ash/dash:
# https://bugs.debian.org/cgi-bin/bugreport.cgi?bug=874264
if [ "${1#-}" != "${1}" ] || [ -z "$(command -v "${1}")" ] || { [ -f "${1}" ] && ! [ -x "${1}" ]; }; then
  set -- node "$@"
fi

exec "$@"
END

rm -rf etc/nginx/sites-* etc/nginx/modules-*
mkdir -p docker-entrypoint.d etc/nginx/conf.d usr/share/nginx/html var/log/nginx var/lib/nginx
ln -s /dev/stdout var/log/nginx/access.log
ln -s /dev/stderr var/log/nginx/error.log
cat > docker-entrypoint.sh <<'END'
#!/bin/sh
# vim:sw=4:ts=4:et
set -e
if [ "$1" = "nginx" ] || [ "$1" = "nginx-debug" ]; then
    find "/docker-entrypoint.d/" -follow -type f -print | sort -V | while read -r f; do
        case "$f" in
            *.sh) if [ -x "$f" ]; then echo "$0: Launching $f"; "$f"; else echo "$0: Ignoring $f, not executable"; fi ;;
            *) echo "$0: Ignoring $f" ;;
        esac
    done
    echo "$0: Configuration complete; ready for start up"
fi
exec "$@"
END
cat > etc/nginx/nginx.conf <<'END'
user  nginx;
worker_processes  auto;
error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;
events {
    worker_connections  1024;
}
http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;
    access_log  /var/log/nginx/access.log;
    sendfile        on;
    keepalive_timeout  65;
    include /etc/nginx/conf.d/*.conf;
}
END
cat > etc/nginx/conf.d/default.conf <<'END'
server {
    listen       80;
    server_name  localhost;
    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }
}
END
chmod 755 docker-entrypoint.sh usr/local/bin/docker-entrypoint.sh
