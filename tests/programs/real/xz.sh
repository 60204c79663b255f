# Two threads compress, one decompresses.
# packages: xz-utils
# quick
program() {
  need xz xz-utils
  seq 200000 | "$@" xz -6 -T2 >numbers.xz || return
  cksum <numbers.xz
  "$@" xz -dc numbers.xz | cksum
}
