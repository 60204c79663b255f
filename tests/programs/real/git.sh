# A history of eight commits, cloned, packed and checked; git starts itself many times.
# packages: git
# quick
program() {
  need git git
  export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' HOME=$PWD
  git config --global user.name n && git config --global user.email n@example.org && git config --global gc.autoDetach false
  git config --global init.defaultBranch main
  "$@" git init -q one || return
  (cd one && for i in $(seq 8); do seq "$i" 500 >"file$((i % 7))" && "$@" git add . && "$@" git commit -qm "change $i"; done) || return
  "$@" git clone -q one two 2>&1 || return
  (cd two && "$@" git gc -q && "$@" git log --stat --format='%H %s' && "$@" git fsck 2>&1) || return
}
