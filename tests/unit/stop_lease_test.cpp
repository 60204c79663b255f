// Who ends a stop: the scanner, or, when its lease has run out, a stopped thread; never both, and nobody ends one that
// is held.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "alloc/os.h"
#include "scan/stop_lease.h"

using namespace arenascan;

TEST_CASE("a stop on a lease is called off when that has run out, not before, and not taken up again") {
  scan::StopLease lease;
  const std::uint32_t first = lease.begin();
  lease.call_off_late(first, UINT64_MAX - 1);  // no end yet
  CHECK(lease.lasts(first));
  lease.lease_until(100);
  lease.call_off_late(first, 99);
  CHECK(lease.lasts(first));
  CHECK_FALSE(lease.is_over());
  CHECK(lease.called_off_at_ns() == 0);
  lease.call_off_late(first, 100);
  CHECK_FALSE(lease.lasts(first));
  CHECK(lease.is_over());
  CHECK(lease.called_off_at_ns() == 100);
  CHECK_FALSE(lease.hold());
  lease.lease_until(200);
  CHECK_FALSE(lease.hold());
  lease.end();
  CHECK(lease.is_over());

  const std::uint32_t second = lease.begin();
  CHECK(second != first);
  CHECK(lease.lasts(second));
  CHECK_FALSE(lease.lasts(first));
  lease.lease_until(100);
  lease.call_off_late(first, 100);  // a thread that was late
  CHECK(lease.lasts(second));
  lease.lease_until(200);
  lease.call_off_late(second, 199);  // the lease was prolonged
  CHECK(lease.hold());
  lease.end();
  CHECK_FALSE(lease.lasts(second));
}

TEST_CASE("a stop that is held lasts until its end, or the next lease's") {
  scan::StopLease lease;
  const std::uint32_t stop = lease.begin();
  lease.lease_until(100);
  CHECK(lease.hold());
  CHECK(lease.hold());
  lease.call_off_late(stop, 1000);
  CHECK(lease.lasts(stop));
  lease.lease_until(1000);
  lease.call_off_late(stop, 999);
  CHECK(lease.hold());
  lease.call_off_late(stop, 1000);
  CHECK(lease.lasts(stop));
  lease.lease_until(1000);
  lease.call_off_late(stop, 1000);
  CHECK_FALSE(lease.hold());
}

// The scanner writes what it looks at, in stops that it holds; a thread that has seen one end reads it. Not atomic:
// ThreadSanitizer sees what is out of order.
TEST_CASE("stops that threads call off, and stops that the scanner has held, by chance") {
  constexpr int kThreads = 3;
  constexpr int kRounds = 4'000;
  scan::StopLease lease;
  std::atomic<std::uint32_t> stop{UINT32_MAX};  // the one that threads are to wait for
  std::atomic<int> waiting{0};
  std::atomic<int> have_left{0};
  std::atomic<bool> done{false};
  int held = 0;
  std::atomic<int> wrong{0};
  const auto wait = [&](bool spins, bool looks_after) {
    for (std::uint32_t last = UINT32_MAX; !done;) {
      const std::uint32_t now = stop.load();
      if (now == last) {
        std::this_thread::yield();
        continue;
      }
      last = now;
      ++waiting;
      while (lease.lasts(now)) {
        if (spins || looks_after) lease.call_off_late(now, alloc::os_monotonic_ns());
        spins ? std::this_thread::yield() : lease.sleep(now, looks_after);
      }
      if (held > kRounds) ++wrong;
      ++have_left;
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(wait, true, false);
  threads.emplace_back(wait, false, true);
  threads.emplace_back(wait, false, false);
  int called_off = 0;
  for (int round = 0; round < kRounds; ++round) {
    waiting = have_left = 0;
    const std::uint32_t number = lease.begin();
    stop = number;
    while (waiting != kThreads) std::this_thread::yield();
    // Some are called off, some held in time, of others it is open.
    lease.lease_until(alloc::os_monotonic_ns());
    for (int i = round % 64; i > 0; --i) asm volatile("pause");
    while (round % 4 == 0 && !lease.is_over()) std::this_thread::yield();
    if (lease.hold()) {
      const int before = held;
      for (int i = 0; i < 50; ++i) asm volatile("pause");
      if (have_left != 0) ++wrong;
      held = before + 1;
      lease.end();
    } else {
      ++called_off;
      if (!lease.is_over() || lease.lasts(number)) ++wrong;
      if (round % 2 == 0) lease.end();  // of no effect
    }
    while (have_left != kThreads) std::this_thread::yield();
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(held > 0);
  CHECK(called_off >= kRounds / 4);
  CHECK(held + called_off == kRounds);
}
