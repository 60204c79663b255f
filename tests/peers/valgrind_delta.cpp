// Valgrind's memcheck/tests/leak-delta: what is new from one check to the next, while the only pointers to blocks are
// moved to the byte in front of them, and back.
#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

char* volatile g_ten = nullptr;
char* volatile g_twenty_one = nullptr;
char* volatile g_thirties[2];

[[gnu::noinline]] char* block(std::size_t bytes) {
  char* const p = used(static_cast<char*>(std::malloc(bytes)));
  std::memset(p, 1, bytes);
  return p;
}

struct Check {
  std::uint64_t lost;
  std::uint64_t lost_bytes;
  std::uint64_t fresh;
  std::uint64_t recovered;
};

[[gnu::noinline]] void expect(const char* when, Check wanted) {
  arena_scrub_stack();
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(nullptr, &result) == 0);
  if (result.leaked.objects == wanted.lost && result.leaked.bytes == wanted.lost_bytes &&
      result.fresh.objects == wanted.fresh && result.recovered.objects == wanted.recovered) {
    return;
  }
  std::fprintf(stderr, "%s: %lu object(s) lost, of %lu byte(s), %lu of them new, %lu found again\n", when,
               result.leaked.objects, result.leaked.bytes, result.fresh.objects, result.recovered.objects);
  CHECK(false);
}

}  // namespace

int main() {
  g_ten = block(10);
  expect("one that is held", {0, 0, 0, 0});
  expect("nothing has changed", {0, 0, 0, 0});
  g_ten = g_ten - 1;
  g_twenty_one = block(21);
  expect("the first is lost", {1, 10, 1, 0});
  for (std::size_t i = 0; i < 2; ++i) g_thirties[i] = block(32 + i);
  expect("two more that are held", {1, 10, 0, 0});
  expect("nothing has changed again", {1, 10, 0, 0});
  g_ten = g_ten + 1;
  expect("the first is found", {0, 0, 0, 1});
  g_ten = g_ten - 1;
  expect("and lost", {1, 10, 1, 0});
  g_ten = g_ten + 1;
  expect("and found", {0, 0, 0, 1});
  g_thirties[0] = g_thirties[0] - 1;
  expect("one of two is lost", {1, 32, 1, 0});
  g_thirties[1] = g_thirties[1] - 1;
  expect("the other one, too", {2, 65, 1, 0});
  return finish();
}
