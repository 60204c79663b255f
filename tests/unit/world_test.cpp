// Stopping the world: nothing moves between stop and resume, whatever the threads were doing; who cannot be stopped is
// named. ThreadSanitizer delays signals until a thread calls something it intercepts, so these cases are not built
// there.
#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "alloc/os.h"
#include "scan/errand.h"
#include "scan/stop_signal.h"
#include "scan/world.h"
#include "tests/holder.h"

using namespace arenascan;

#if defined(__SANITIZE_THREAD__)
TEST_CASE("world") { MESSAGE("NOT TESTED: signals are delayed by ThreadSanitizer"); }
#else

namespace {

constexpr scan::StopSettings kSettings{0, 2'000'000'000};

struct Busy {
  std::atomic<std::uint64_t> steps{0};
  std::atomic<bool> done{false};
};

void spin(Busy& busy) {
  while (!busy.done) ++busy.steps;
}
void sleep_and_step(Busy& busy) {
  while (!busy.done) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    ++busy.steps;
  }
}
void start_and_end(Busy& busy) {
  while (!busy.done) std::thread([&busy] { ++busy.steps; }).join();
}

}  // namespace

TEST_CASE("nothing moves while the world is stopped") {
  Busy busy;
  std::mutex mutex;
  std::condition_variable wakes;
  std::vector<std::thread> threads;
  threads.emplace_back(spin, std::ref(busy));
  threads.emplace_back(spin, std::ref(busy));
  threads.emplace_back(sleep_and_step, std::ref(busy));
  threads.emplace_back(start_and_end, std::ref(busy));
  threads.emplace_back([&] {
    std::unique_lock lock(mutex);
    wakes.wait(lock, [&] { return busy.done.load(); });
  });
  scan::World world;
  for (int round = 0; round < 300; ++round) {
    const scan::World::Outcome outcome =
        world.stop(kSettings, round % 2 == 0 ? scan::World::Meanwhile::kSpin : scan::World::Meanwhile::kSleep);
    REQUIRE(outcome.problem == scan::Incomplete::kNo);
    const std::uint64_t before = busy.steps;
    CHECK(world.threads().size() >= 5);
    for (int i = 0; i < 2'000; ++i) asm volatile("pause");
    const std::uint64_t after = busy.steps;
    for (const scan::StoppedThread& thread : world.threads()) {
      CHECK(thread.thread_id != static_cast<int>(syscall(SYS_gettid)));
      CHECK(thread.registers_begin < thread.registers_end);
      CHECK(thread.stack_pointer != 0);
    }
    world.resume();
    REQUIRE(before == after);
  }
  const std::uint64_t steps = busy.steps;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(busy.steps > steps);  // it goes on
  {
    const std::scoped_lock lock(mutex);
    busy.done = true;
  }
  wakes.notify_all();
  for (std::thread& thread : threads) thread.join();
}

// Stops the world, with an errand to do, some rounds or until it was done. How often it was done; each time the scanner
// sees what that did.
int done_errands(int rounds, bool until_done) {
  scan::World world;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  int done = 0;
  for (int round = 0; round < rounds || (until_done && done == 0 && std::chrono::steady_clock::now() < until);
       ++round) {
    const bool sleeps = round % 2 != 0;
    REQUIRE(world.stop(kSettings, sleeps ? scan::World::Meanwhile::kSleep : scan::World::Meanwhile::kSpin).problem ==
            scan::Incomplete::kNo);
    int count = 0;  // not atomic: what the errand did is seen by who takes it back
    scan::offer_errand({[](void* argument) { ++*static_cast<int*>(argument); }, &count});
    for (int i = 0; i < 2'000; ++i) asm volatile("pause");
    const scan::ErrandIs outcome = scan::take_back_errand(UINT64_MAX);
    CHECK(count == (outcome == scan::ErrandIs::kUntaken ? 0 : 1));
    if (sleeps) CHECK(outcome == scan::ErrandIs::kUntaken);
    done += count;
    world.resume();
  }
  return done;
}

void keep_to(pthread_t thread, const cpu_set_t& processors) {
  REQUIRE(pthread_setaffinity_np(thread, sizeof(processors), &processors) == 0);
}

cpu_set_t nth_processor(const cpu_set_t& all, int n) {
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &all) && n-- == 0) CPU_SET(i, &one);
  }
  return one;
}

TEST_CASE("an errand is done once by a stopped thread that spins, or not at all") {
  Busy busy;
  std::thread thread(spin, std::ref(busy));
  const bool can_spin = alloc::os_processor_count() >= 2 && alloc::os_thread_count() == 2;
  if (!can_spin) MESSAGE("NOT TESTED: no thread spins on a single processor, or beside more threads");
  const int done = done_errands(500, can_spin);
  CHECK((done > 0 || !can_spin));
  busy.done = true;
  thread.join();
}

TEST_CASE("an errand that somebody is long about is left to him, and done when it is awaited") {
  struct Work {
    std::atomic<bool> may_end{false};
    bool done = false;  // not atomic: seen by who awaits it
  };
  Busy busy;
  std::thread thread(spin, std::ref(busy));
  const bool can_spin = alloc::os_processor_count() >= 2 && alloc::os_thread_count() == 2;
  if (!can_spin) MESSAGE("NOT TESTED: no thread spins on a single processor, or beside more threads");
  scan::World world;
  bool was_left = !can_spin;
  for (int round = 0; round < 100 && !was_left; ++round) {
    Work work;
    REQUIRE(world.stop(kSettings).problem == scan::Incomplete::kNo);
    scan::offer_errand({[](void* argument) {
                          auto& given = *static_cast<Work*>(argument);
                          while (!given.may_end) continue;
                          given.done = true;
                        },
                        &work});
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    const scan::ErrandIs outcome = scan::take_back_errand(100'000);
    CHECK(outcome != scan::ErrandIs::kDone);
    was_left = outcome == scan::ErrandIs::kLeft;
    world.resume();
    work.may_end = true;
    scan::await_errand();
    CHECK(work.done == was_left);
  }
  CHECK(was_left);
  busy.done = true;
  thread.join();
}

TEST_CASE("threads that are kept to processors spin on another than the scanner's, and sleep on the same") {
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof(all), &all) == 0);
  Busy busy;
  std::thread thread(spin, std::ref(busy));
  if (CPU_COUNT(&all) < 2 || alloc::os_thread_count() != 2) {
    MESSAGE("NOT TESTED: takes two processors, and no other thread");
  } else {
    scan::StopSignal::learn_processors();
    keep_to(pthread_self(), nth_processor(all, 0));
    keep_to(thread.native_handle(), nth_processor(all, 1));
    CHECK(done_errands(20, true) > 0);
    keep_to(thread.native_handle(), nth_processor(all, 0));
    CHECK(done_errands(100, false) == 0);
    keep_to(pthread_self(), all);
  }
  busy.done = true;
  thread.join();
}

TEST_CASE("a thread that masks all signals is traced, or else named, and everything runs again") {
  std::atomic<int> id{0};
  Busy busy;
  std::thread masked([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    id = static_cast<int>(syscall(SYS_gettid));
    while (!busy.done) ++busy.steps;
  });
  while (id == 0) std::this_thread::yield();
  scan::World world;
#if defined(ARENASCAN_CORE_ONLY)  // nothing is traced beside a sanitizer
  const scan::World::Outcome outcome = world.stop({0, 50'000'000});
  CHECK(outcome.problem == scan::Incomplete::kThreadNotStopped);
  CHECK(outcome.thread == id);
  CHECK(world.threads().empty());
#else
  for (int round = 0; round < 100; ++round) {
    REQUIRE(world.stop(kSettings).problem == scan::Incomplete::kNo);
    const std::uint64_t before = busy.steps;
    REQUIRE(world.threads().size() == 1);
    CHECK(world.threads()[0].thread_id == id);
    CHECK(world.threads()[0].registers_begin < world.threads()[0].registers_end);
    for (int i = 0; i < 2'000; ++i) asm volatile("pause");
    const std::uint64_t after = busy.steps;
    world.resume();
    REQUIRE(before == after);
  }
#endif
  const std::uint64_t steps = busy.steps;
  while (busy.steps == steps) std::this_thread::yield();
  busy.done = true;
  masked.join();
  CHECK(world.stop(kSettings).problem == scan::Incomplete::kNo);
  world.resume();
}

TEST_CASE("a stop is called off when a thread could answer and does not, and all others go on") {
  std::atomic<int> id{0};
  Busy held;
  Busy busy;
  std::thread late([&] {
    id = static_cast<int>(syscall(SYS_gettid));
    spin(held);
  });
  std::thread other(spin, std::ref(busy));
  while (id == 0) std::this_thread::yield();
  scan::World world;
  {
    const test::Holder holder(id);
    if (holder.holds()) {
      constexpr std::uint64_t kLong = 5'000'000'000;
      const std::uint64_t began = alloc::os_monotonic_ns();
      for (int round = 0; round < 5; ++round) {
        const scan::World::Outcome outcome = world.stop({0, kLong, 1'000'000});
        REQUIRE(outcome.problem == scan::Incomplete::kThreadNotStopped);
        CHECK(outcome.thread == id);
        const std::uint64_t steps = busy.steps;
        while (busy.steps == steps) std::this_thread::yield();
      }
      CHECK(alloc::os_monotonic_ns() - began < kLong);
    } else {
      MESSAGE("NOT TESTED: takes a process that may trace its parent");
    }
  }
  CHECK(world.stop(kSettings).problem == scan::Incomplete::kNo);
  world.resume();
  held.done = busy.done = true;
  late.join();
  other.join();
}

TEST_CASE("a scanner that is late loses a stop that it has on a lease, and keeps one that it holds") {
  constexpr std::uint64_t kMs = 1'000'000;
  std::array<Busy, 5> busy;
  std::vector<std::thread> threads;
  const auto steps = [&] {
    std::uint64_t sum = 0;
    for (const Busy& one : busy) sum += one.steps;
    return sum;
  };
  scan::World world;
  // One thread, which spins while it is stopped where it can; or more than there are processors, which sleep.
  for (const std::size_t count : {std::size_t{1}, busy.size()}) {
    while (threads.size() < count) threads.emplace_back(spin, std::ref(busy[threads.size()]));
    for (const auto meanwhile : {scan::World::Meanwhile::kSpin, scan::World::Meanwhile::kSleep}) {
      REQUIRE(world.stop(kSettings, meanwhile).problem == scan::Incomplete::kNo);
      std::uint64_t before = steps();
      alloc::os_sleep_ns(5 * kMs);
      CHECK(steps() == before);
      scan::World::lease().lease_until(alloc::os_monotonic_ns() + 1'000'000 * kMs);
      alloc::os_sleep_ns(5 * kMs);
      CHECK(steps() == before);
      CHECK(scan::World::lease().hold());

      const std::uint64_t ends = alloc::os_monotonic_ns() + kMs;
      scan::World::lease().lease_until(ends);
      while (steps() == before) std::this_thread::yield();
      CHECK(alloc::os_monotonic_ns() >= ends);
      CHECK_FALSE(scan::World::lease().hold());
      while (scan::World::lease().called_off_at_ns() < ends) std::this_thread::yield();  // told a little later
      CHECK(scan::World::lease().called_off_at_ns() <= alloc::os_monotonic_ns());
      world.resume();

      REQUIRE(world.stop(kSettings, meanwhile).problem == scan::Incomplete::kNo);  // what was late is of no effect
      CHECK(world.threads().size() == count);
      before = steps();
      alloc::os_sleep_ns(5 * kMs);
      CHECK(steps() == before);
      world.resume();
    }
  }
  for (Busy& one : busy) one.done = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("a program that takes the signal over is noticed") {
  scan::World world;
  REQUIRE(world.stop(kSettings).problem == scan::Incomplete::kNo);
  world.resume();
  struct sigaction ours {};
  int signal = 0;
  for (int s = SIGRTMIN; s <= SIGRTMAX; ++s) {
    sigaction(s, nullptr, &ours);
    if ((ours.sa_flags & SA_SIGINFO) != 0) signal = s;
  }
  REQUIRE(signal != 0);
  sigaction(signal, nullptr, &ours);
  struct sigaction other {};
  other.sa_handler = SIG_IGN;
  sigaction(signal, &other, nullptr);
  CHECK(world.stop(kSettings).problem == scan::Incomplete::kSignalTaken);
  sigaction(signal, &ours, nullptr);
  CHECK(world.stop(kSettings).problem == scan::Incomplete::kNo);
  world.resume();
}

TEST_CASE("the signal sent by somebody else does nothing") {
  scan::World world;
  REQUIRE(world.stop(kSettings).problem == scan::Incomplete::kNo);
  world.resume();
  for (int s = SIGRTMAX - 4; s <= SIGRTMAX - 3; ++s) {
    struct sigaction now {};
    sigaction(s, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) == 0) continue;
    raise(s);
    sigval value{};
    value.sival_ptr = &value;
    sigqueue(getpid(), s, value);
  }
  CHECK(world.stop(kSettings).problem == scan::Incomplete::kNo);
  world.resume();
}

TEST_CASE("what the calling thread keeps in registers for its callers is its register root") {
  using Words = std::array<std::uintptr_t, 6>;
  alignas(64) static std::array<std::byte, 1 << 16> stack;
  Words found{};
  void (*const body)(std::uintptr_t, void*) = [](std::uintptr_t stack_pointer, void* words) {
    const scan::StoppedThread self = scan::calling_thread(stack_pointer);
    const auto* const begin = reinterpret_cast<const std::uintptr_t*>(self.registers_begin);
    const auto* const end = reinterpret_cast<const std::uintptr_t*>(self.registers_end);
    std::copy_n(begin, std::min<std::ptrdiff_t>(end - begin, 6), static_cast<Words*>(words)->begin());
  };
  static std::uintptr_t frame = 0;  // no register is left to find it by
  auto* end = stack.data() + stack.size();
  auto* function = body;
  auto* argument = &found;
  asm volatile(
      "mov %%rbp, %[frame]\n"
      "mov $71, %%ebx\n"
      "mov $72, %%r12d\n"
      "mov $73, %%r13d\n"
      "mov $74, %%r14d\n"
      "mov $75, %%r15d\n"
      "call arenascan_call_with_registers_saved\n"
      : [frame] "=&m"(frame), "+D"(function), "+S"(argument), "+d"(end)
      :
      : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc",
        "memory");
  for (const std::uintptr_t kept :
       {std::uintptr_t{71}, std::uintptr_t{72}, std::uintptr_t{73}, std::uintptr_t{74}, std::uintptr_t{75}, frame}) {
    CAPTURE(kept);
    CHECK(std::find(found.begin(), found.end(), kept) != found.end());
  }
}

#endif
