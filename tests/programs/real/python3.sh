# Some of Python's own tests, with every Python object on our heap.
# packages: python3 libpython3.11-testsuite
program() {
  [ -e /usr/lib/python3.11/test/test_list.py ] || { echo "python3's tests are not installed: apt-get install libpython3.11-testsuite"; exit 1; }
  # Durations, load and the order of finishing differ from run to run.
  PYTHONMALLOC=malloc "$@" /usr/bin/python3 -m test test_list test_dict test_json test_threading >log 2>&1
  local status=$?
  grep -E '^(All [0-9]+ tests OK|[0-9]+ tests? (OK|failed)|Tests result)' log
  [ "$status" -eq 0 ] || cat log
  return $status
}
