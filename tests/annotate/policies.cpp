// What the annotations mean, and to which pointers they apply.
#include "tests/check.h"
#include "tests/roots/root_test.h"

#include <cerrno>

using namespace arenascan::test;

namespace {

// A block whose first word points to a second block; nothing points to the first.
struct Pair {
  Hidden first;
  Hidden second;
};

[[gnu::noinline]] Pair allocate_pair() {
  const Pair pair{allocate_hidden(), allocate_hidden()};
  *static_cast<void**>(reveal(pair.first)) = reveal(pair.second);
  return pair;
}

using Annotate = int (*)(const void*);

[[gnu::noinline]] int apply(Annotate annotate, Hidden hidden, std::size_t offset) {
  return annotate(static_cast<char*>(reveal(hidden)) + offset);
}

// Leaked objects of a new pair after annotating its first or its second block at `offset`.
[[gnu::noinline]] long leaked_after(Annotate annotate, bool first, std::size_t offset) {
  const std::uint32_t mark = arena_mark();
  const Pair pair = allocate_pair();
  if (annotate != nullptr) CHECK(apply(annotate, first ? pair.first : pair.second, offset) == 0);
  scrub_stack();
  return leaked_since(mark);
}

void test_disable() {
  const std::uint32_t mark = arena_mark();
  arena_disable();
  arena_disable();
  arena_enable();
  allocate_pair();
  arena_enable();
  scrub_stack();
  CHECK(leaked_since(mark) == 0);
  allocate_hidden();
  scrub_stack();
  CHECK(leaked_since(mark) == 1);
}

}  // namespace

int main() {
  CHECK(leaked_after(nullptr, true, 0) == 2);
  CHECK(leaked_after(arena_not_leak, true, 0) == 0);   // neither is reported
  CHECK(leaked_after(arena_not_leak, true, 99) == 0);  // any interior pointer will do
  CHECK(leaked_after(arena_not_leak, false, 0) == 1);  // what points to it is still lost
  CHECK(leaked_after(arena_ignore, true, 0) == 1);     // its contents are not read
  CHECK(leaked_after(arena_ignore, false, 50) == 1);
  CHECK(leaked_after(arena_no_scan, true, 0) == 2);  // reported, and so is what it alone held
  CHECK(leaked_after(arena_no_scan, false, 0) == 2);
  test_disable();

  int on_stack = 0;
  errno = 0;
  CHECK(arena_not_leak(&on_stack) == -1 && errno == EINVAL);
  errno = 0;
  CHECK(arena_ignore(nullptr) == -1 && errno == EINVAL);
  return finish();
}
