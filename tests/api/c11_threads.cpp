// Threads of <threads.h>: what they return reaches who joins them, and what they have left on their stacks keeps
// nothing alive when they are gone.
#include <threads.h>

#include <array>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

int twice(void* number) { return 2 * *static_cast<int*>(number); }

int leave_early(void*) { thrd_exit(-7); }

int lose(void*) {
  std::array<void* volatile, 1000> words{};
  words[500] = used(std::malloc(1337));
  return 0;
}

int run(thrd_start_t routine, void* argument) {
  thrd_t thread;
  CHECK(thrd_create(&thread, routine, argument) == thrd_success);
  int result = 0;
  CHECK(thrd_join(thread, &result) == thrd_success);
  return result;
}

}  // namespace

int main() {
  int number = 21;
  CHECK(run(twice, &number) == 42);
  number = -4;
  CHECK(run(twice, &number) == -8);
  CHECK(run(leave_early, nullptr) == -7);
  const std::uint32_t mark = arena_mark();
  for (int i = 0; i < 10; ++i) run(lose, nullptr);
  expect_lost("when they are gone", lost_since(mark), {10, 0});
  return finish();
}
