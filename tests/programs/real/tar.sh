# Our sources packed, listed and unpacked.
# packages: tar
# quick
program() {
  need tar tar
  "$@" tar --sort=name --mtime='2001-01-01' --owner=0 --group=0 -cf sources.tar -C "$root" alloc scan api || return
  cksum <sources.tar
  "$@" tar -tf sources.tar | cksum
  mkdir out && "$@" tar -xf sources.tar -C out && (cd out && find . -type f | sort | xargs cksum | cksum)
}
