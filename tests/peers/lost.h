// How much is lost since a moment, and by whom.
#pragma once

#include "tests/check.h"
#include "tests/roots/root_test.h"

namespace arenascan::test {

struct Lost {
  long direct;
  long indirect;
  friend bool operator==(const Lost&, const Lost&) = default;
};

[[gnu::noinline]] inline Lost count_lost(std::uint32_t mark) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.born_since = mark;
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(&options, &result) == 0);
  if (result.incomplete != ARENA_COMPLETE) std::fprintf(stderr, "the scan was incomplete: %s\n", result.incomplete_why);
  CHECK(result.incomplete == ARENA_COMPLETE);
  return {static_cast<long>(result.direct.objects), static_cast<long>(result.indirect.objects)};
}

// In line: what was called before has left nothing where the next call will have its frame.
[[gnu::always_inline]] inline Lost lost_since(std::uint32_t mark) {
  arena_scrub_stack();
  return count_lost(mark);
}

inline void expect_lost(const char* what, Lost lost, Lost wanted) {
  if (lost == wanted) return;
  std::fprintf(stderr, "%s: %ld direct and %ld indirect, instead of %ld and %ld\n", what, lost.direct, lost.indirect,
               wanted.direct, wanted.indirect);
  CHECK(lost == wanted);
}

// An object that the compiler cannot leave out.
template <typename T>
T* used(T* p) {
  asm volatile("" : "+r"(p) : : "memory");
  return p;
}

}  // namespace arenascan::test
