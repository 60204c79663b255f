#!/usr/bin/env bash
# A program that runs with rights which its caller does not have heeds no variable of the caller: options name files that
# are written and programs that are run.
set -euo pipefail

if [ "$(id -u)" -ne 0 ]; then
  echo "needs root, to make a program that runs as another user: not run" >&2
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cp "$ARENASCAN_LIB" "$folder/libarenascan.so.0"
chmod 755 "$folder/libarenascan.so.0"
cat >"$folder/program.cpp" <<'CPP'
#include <sys/auxv.h>

#include <cstdio>

int main() {
  delete new int(1);
  std::printf("%s\n", getauxval(AT_SECURE) != 0 ? "privileged" : "plain");
}
CPP
"$CXX" -o "$folder/program" "$folder/program.cpp" "$folder/libarenascan.so.0" "-Wl,-rpath,$folder"

fail() {
  echo "$*" >&2
  exit 1
}

said() {
  ARENASCAN_OPTIONS=no_such_option=1 "$folder/program" 2>&1
}

plain=$(said)
grep -q '^plain$' <<<"$plain" || fail "the program is not plain: $plain"
grep -q no_such_option <<<"$plain" || fail "a plain program does not say what is wrong with its options: $plain"

chown 65534:65534 "$folder/program"
chmod 4755 "$folder/program"
[ "$(said)" = privileged ] || fail "as another user it says, where only \`privileged\` is right: $(said)"
