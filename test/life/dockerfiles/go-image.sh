# The image of Go, executed in the tree of its packages: what a program in Go is made with, and nothing for C, debuggers and link-time
# optimisation.

cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
cd usr
rm -rf share include bin/*lto-dump* bin/*gp* libexec/gcc/*/*/lto1 libexec/gcc/*/*/lto-wrapper libexec/gcc/*/*/vet \
  lib/x86_64-linux-gnu/gconv lib/gcc/*/*/plugin lib/gcc/*/*/include lib/gcc/*/*/lib?san* lib/gcc/*/*/libtsan*
find . -name 'libgo.*' -type f -exec strip --strip-debug {} +
ln -s go-14 bin/go
ln -s gccgo-14 bin/gccgo
cd ..
rm -rf dev/* var/lib/dpkg var/lib/apt var/cache/* var/log/*
mkdir -p go/bin go/src root tmp var/tmp
chmod 1777 tmp var/tmp
