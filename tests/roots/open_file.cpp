// A stream that is open, with its buffer, of which only the C library knows any more.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

[[gnu::noinline]] static Hidden open_hidden() {
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  std::fgetc(file);  // makes the buffer
  return hide(file);
}

int main(int, char** argv) {
  const bool is_off = std::strcmp(argv[1], "off") == 0;
  if (is_off) switch_off("use_globals", argv);
  const std::uint32_t mark = arena_mark();
  const Hidden file = open_hidden();
  scrub_stack();
  const int failures = expect(is_off ? "switched off" : "open", leaked_since(mark), is_off ? 2 : 0);
  std::fclose(static_cast<std::FILE*>(reveal(file)));
  return failures;
}
