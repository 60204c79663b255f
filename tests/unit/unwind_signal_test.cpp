// Fast walks against libunwind's from signal handlers that interrupt code anywhere, also where frames are half made.
#include <alloca.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "tests/unit/random.h"
#include "tests/unit/walk_compare.h"

using namespace arenascan;
using test::Tally;
using test::use;

namespace {

Tally* g_tally = nullptr;
std::atomic<std::uint64_t> g_samples{0};

// The frames of the interrupted code, from a handler: at any instruction, also in prologues and epilogues.
[[gnu::noinline]] void on_sample(int) {
  test::compare(*g_tally);
  g_samples.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t leaf_work(std::uint64_t value) {
  asm volatile("" : "+r"(value));
  return value * 3 + 1;
}

[[gnu::noinline]] std::uint64_t stepped_leaf(std::uint64_t value) { return leaf_work(value); }

[[gnu::noinline]] std::uint64_t stepped_frame(std::uint64_t value, std::uint64_t depth) {
  std::uint64_t words[6] = {value, depth, 1, 2, 3, 4};
  use(words);
  if (depth != 0) words[0] += stepped_frame(value + words[2], depth - 1);
  return words[0] + stepped_leaf(words[1]) + stepped_leaf(words[3]);
}

[[gnu::noinline]] std::uint64_t stepped_aligned(std::uint64_t value) {
  alignas(64) std::uint64_t words[16];
  for (std::uint64_t& word : words) word = stepped_leaf(value++);
  use(words);
  return words[value % 16];
}

[[gnu::noinline]] std::uint64_t stepped_variable(std::uint64_t value) {
  auto* const words = static_cast<std::uint64_t*>(alloca(8 * (1 + value % 20)));
  words[0] = stepped_frame(value, 2);
  use(words);
  return words[0] + stepped_aligned(value);
}

void set_single_step(bool on) {
  constexpr std::uint64_t kTrapFlag = 0x100;
  std::uint64_t flags = __builtin_ia32_readeflags_u64();
  flags = on ? flags | kTrapFlag : flags & ~kTrapFlag;
  __builtin_ia32_writeeflags_u64(flags);
}

}  // namespace

TEST_CASE("unwind: from every single instruction of frames being made and taken down" *
          doctest::skip(test::kSanitized)) {
  Tally tally;
  g_tally = &tally;
  const test::Handler trap(SIGTRAP, on_sample, 0);
  const std::uint64_t before = g_samples.load();
  for (std::uint64_t value = 0; value < 5; ++value) {
    set_single_step(true);
    std::uint64_t result = stepped_variable(value);
    set_single_step(false);
    use(&result);
  }
  CHECK(g_samples.load() - before > 1000);
  test::check(tally, 1000);
}

TEST_CASE("unwind: from a timer's handler in code that sorts" * doctest::skip(test::kSanitized)) {
  Tally tally;
  g_tally = &tally;
  const test::AlternateStack alternate;
  const test::Handler timer(SIGPROF, on_sample, SA_RESTART | SA_ONSTACK);
  const std::uint64_t before = g_samples.load();
  const itimerval often{{0, 1000}, {0, 1000}};
  REQUIRE(setitimer(ITIMER_PROF, &often, nullptr) == 0);
  test::Random random(5);
  std::array<std::uint64_t, 1000> numbers{};
  for (int round = 0; round < 100'000 && g_samples.load() - before < 40; ++round) {
    for (std::uint64_t& number : numbers) number = random.next();
    std::sort(numbers.begin(), numbers.end());
    use(numbers.data());
  }
  const itimerval never{};
  REQUIRE(setitimer(ITIMER_PROF, &never, nullptr) == 0);
  test::check(tally, 10);
}
