// A scan beside other threads tells how far it is, can be cancelled at any time, leaves the next one whole, and keeps
// to its share of a processor.
#include <arenascan/arena.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

constexpr std::size_t kHeld = 200'000;
constexpr std::size_t kLost = 1'000;

std::vector<void*> g_held;
std::atomic<bool> g_done{false};

[[gnu::noinline]] void build() {
  for (std::size_t i = 0; i < kHeld; ++i) {
    g_held.push_back(std::calloc(1, 64));
    if (i % (kHeld / kLost) != 0) continue;
    void* lost = std::calloc(1, 64);
    asm volatile("" : "+r"(lost));
  }
}

[[gnu::noinline]] void scrub_stack() {
  volatile char dead[32768];
  for (volatile char& byte : dead) byte = 0;
}

struct Told {
  unsigned calls = 0;
  unsigned cancel_at = 0;  // the call that cancels; 0: none
  bool scans = false;      // from the callback
  bool in_order = true;
  arena_progress last{};
};

int note(const arena_progress* progress, void* argument) {
  Told& told = *static_cast<Told*>(argument);
  if (progress->phase < told.last.phase || progress->reached.objects < told.last.reached.objects ||
      progress->elapsed_ns < told.last.elapsed_ns) {
    told.in_order = false;
  }
  told.last = *progress;
  ++told.calls;
  std::free(std::malloc(100));  // it may allocate
  if (told.scans) CHECK(arena_scan() == 0);
  return told.calls == told.cancel_at ? 1 : 0;
}

arena_scan_result scan(Told* told, std::uint32_t cpu_percent = 0) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.cpu_percent = cpu_percent;
  options.progress = told != nullptr ? note : nullptr;
  options.progress_argument = told;
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(&options, &result) == 0);
  return result;
}

std::uint64_t now_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

int main() {
  build();
  scrub_stack();
  std::thread waiter([] {
    while (!g_done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });

  const arena_scan_result plain = scan(nullptr);
  CHECK(plain.incomplete == ARENA_COMPLETE);
  CHECK(plain.leaked.objects == kLost);
  if (plain.concurrent == 0) std::fprintf(stderr, "NOT TESTED beside the program: %s\n", plain.way);

  Told told;
  const arena_scan_result watched = scan(&told);
  CHECK(watched.leaked.objects == kLost);
  CHECK(told.in_order);
  CHECK(told.last.phase == ARENA_PHASE_CLASSIFY);
  CHECK(told.last.reached.objects >= kHeld);
  CHECK(told.calls >= (plain.concurrent != 0 ? 3U : 1U));

  // Wherever it is cancelled, it claims nothing, and the next scan finds what it should.
  for (unsigned at = 1; at <= told.calls; at += told.calls / 8 + 1) {
    Told cancelling;
    cancelling.cancel_at = at;
    const arena_scan_result cancelled = scan(&cancelling);
    if (cancelling.calls < at) continue;  // this one had fewer pieces
    CHECK(cancelling.calls == at);
    CHECK(cancelled.incomplete == ARENA_INCOMPLETE_CANCELLED);
    CHECK(cancelled.leaked.objects == 0);
    const arena_scan_result next = scan(nullptr);
    CHECK(next.leaked.objects == kLost);
    // What the cancelled mark had gathered is not counted again. (The program has allocated a little since.)
    CHECK(next.seen.objects >= plain.seen.objects);
    CHECK(next.seen.objects < plain.seen.objects + 20);
  }

  Told scanning;
  scanning.scans = true;
  CHECK(scan(&scanning).leaked.objects == kLost);

  if (plain.concurrent != 0) {
    constexpr std::uint32_t kPercent = 20;
    const std::uint64_t wall = now_ns(CLOCK_MONOTONIC);
    const std::uint64_t processor = now_ns(CLOCK_THREAD_CPUTIME_ID);
    CHECK(scan(nullptr, kPercent).leaked.objects == kLost);
    // Half of the wanted effect is enough: pauses are not stretched.
    CHECK((now_ns(CLOCK_THREAD_CPUTIME_ID) - processor) * 100 / kPercent / 2 <= now_ns(CLOCK_MONOTONIC) - wall);
  }

  arena_scan_options wrong{};
  wrong.size = sizeof(wrong);
  wrong.cpu_percent = 100;
  errno = 0;
  CHECK(arena_scan_ex(&wrong, nullptr) == -1);
  CHECK(errno == EINVAL);

  g_done = true;
  waiter.join();
  return arenascan::test::finish();
}
