# The compiler of the Go images on top of the other images' layer, executed in the tree of its packages: what a program in Go is made
# with, and nothing for C, debuggers and link-time optimisation.

cd usr
rm -rf share include bin/*lto-dump* bin/*gp* libexec/gcc/*/*/lto1 libexec/gcc/*/*/lto-wrapper libexec/gcc/*/*/vet \
  lib/x86_64-linux-gnu/gconv lib/gcc/*/*/plugin lib/gcc/*/*/include lib/gcc/*/*/lib?san* lib/gcc/*/*/libtsan*
find . -name 'libgo.*' -type f -exec strip --strip-debug {} +
ln -s go-14 bin/go
ln -s gccgo-14 bin/gccgo
cd ..
find . -mindepth 1 -maxdepth 1 ! -name usr -exec rm -rf {} +
mkdir -p go/bin go/src
