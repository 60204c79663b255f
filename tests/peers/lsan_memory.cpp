// LeakSanitizer's tests of single blocks: malloc_zero, realloc_zero, realloc_failure_keeps_original,
// large_allocation_leak, pointer_to_self, ignore_object, disabler, register_root_region, user_pointer, use_globals and
// use_unaligned (see tests/roots and tests/annotate for roots and forms).
#include <cerrno>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

void* volatile g_place = nullptr;
void* volatile g_many[1024];

[[gnu::noinline]] void lose_empty() { used(std::malloc(0)); }

[[gnu::noinline]] void lose_by_empty_realloc() { used(std::realloc(nullptr, 0)); }

[[gnu::noinline]] void fail_to_grow() {
  g_place = used(std::malloc(100));
  void* volatile huge = std::realloc(g_place, static_cast<std::size_t>(-1) / 2);
  CHECK(huge == nullptr && errno == ENOMEM);
}

[[gnu::noinline]] void lose_large() {
  void* const p = used(std::malloc(std::size_t{33} << 20));
  std::memset(p, 0, 4096);
}

[[gnu::noinline]] void lose_one_that_points_to_itself() {
  void** const p = used(static_cast<void**>(std::malloc(1337)));
  *p = p;
}

// What an ignored object holds is not lost; kmemleak's word for that is "not leak".
[[gnu::noinline]] void leave_one_be() {
  void** const p = used(static_cast<void**>(std::malloc(1337)));
  *p = used(std::malloc(666));
  CHECK(arena_not_leak(p) == 0);
}

[[gnu::noinline]] void disable_for_one() {
  arena_disable();
  used(std::malloc(1337));
  arena_enable();
  used(std::malloc(666));
}

[[gnu::noinline]] void fill_many() {
  for (void* volatile& place : g_many) place = used(std::malloc(sizeof(int*)));
}

[[gnu::noinline]] void hold_in_region(void** region) {
  region[5] = used(std::malloc(1337));
  std::memset(region[5], 0, 1337);
}

void expect_from(const char* what, void (*run)(), Lost wanted) {
  const std::uint32_t mark = arena_mark();
  run();
  expect_lost(what, lost_since(mark), wanted);
}

void test_region() {
  constexpr std::size_t kBytes = 4096;
  auto* const region =
      static_cast<void**>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const std::uint32_t mark = arena_mark();
  hold_in_region(region);
  expect_lost("in memory that is no root", lost_since(mark), {1, 0});
  CHECK(arena_add_root(region, kBytes) == 0);
  expect_lost("registered", lost_since(mark), {0, 0});
  CHECK(arena_add_root(region, kBytes) == 0);
  CHECK(arena_remove_root(region, kBytes) == 0);
  expect_lost("registered twice, removed once", lost_since(mark), {0, 0});
  CHECK(arena_remove_root(region, kBytes) == 0);
  expect_lost("removed", lost_since(mark), {1, 0});
  CHECK(arena_remove_root(region, kBytes) == -1 && errno == ENOENT);
}

}  // namespace

int main() {
  expect_from("of no bytes", lose_empty, {1, 0});
  expect_from("of no bytes, by realloc", lose_by_empty_realloc, {1, 0});
  expect_from("that cannot grow", fail_to_grow, {0, 0});
  std::free(g_place);
  expect_from("of 33 MiB", lose_large, {1, 0});
  expect_from("that points to itself", lose_one_that_points_to_itself, {1, 0});
  expect_from("ignored", leave_one_be, {0, 0});
  expect_from("one of two while disabled", disable_for_one, {1, 0});
  expect_from("in a large global", fill_many, {0, 0});
  test_region();
  return finish();
}
