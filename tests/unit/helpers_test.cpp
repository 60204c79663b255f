#include "scan/helpers.h"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include "alloc/os.h"

using namespace arenascan;

namespace {

struct Job {
  std::array<std::atomic<int>, scan::kMostHelpers + 1> calls{};
  std::array<std::atomic<int>, scan::kMostHelpers + 1> thread{};
};

void count(void* argument, std::size_t number) {
  Job& job = *static_cast<Job*>(argument);
  job.calls[number].fetch_add(1);
  job.thread[number].store(alloc::os_thread_id());
}

// Under sanitizers helpers are threads of the C library's, which are counted a moment longer; and the first of them
// brings one of the sanitizer's.
std::size_t threads_now() {
#if defined(ARENASCAN_CORE_ONLY)
  std::thread([] {}).join();
  alloc::os_sleep_ns(10'000'000);
#endif
  return alloc::os_thread_count();
}
bool counts(std::size_t threads) {
#if defined(ARENASCAN_CORE_ONLY)
  for (int i = 0; i < 1000 && alloc::os_thread_count() != threads; ++i) alloc::os_sleep_ns(1'000'000);
#endif
  return alloc::os_thread_count() == threads;
}

void run_on(int processor) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  REQUIRE(sched_setaffinity(0, sizeof(only), &only) == 0);
}

}  // namespace

TEST_CASE("helpers run what they are given, each once, and are gone when they are dismissed") {
  const std::size_t before = threads_now();
  scan::Helpers helpers;
  for (std::size_t wanted : {std::size_t{1}, std::size_t{3}, scan::kMostHelpers, scan::kMostHelpers + 5}) {
    const std::size_t expected = wanted < scan::kMostHelpers ? wanted : scan::kMostHelpers;
    REQUIRE(helpers.start(wanted) == expected);
    CHECK(counts(before + expected));
    Job job;
    constexpr int kRounds = 200;
    for (int round = 0; round < kRounds; ++round) {
      helpers.run(count, &job);
      helpers.wait();
    }
    for (std::size_t i = 0; i < job.calls.size(); ++i) {
      const bool helps = i >= 1 && i <= expected;
      CHECK(job.calls[i] == (helps ? kRounds : 0));
      CHECK((job.thread[i] != 0) == helps);
      CHECK(job.thread[i] != alloc::os_thread_id());
    }
    helpers.dismiss();
    CHECK(counts(before));
  }
}

TEST_CASE("helpers that join later take part from the next round on") {
  scan::Helpers helpers;
  Job job;
  for (std::size_t wanted = 1; wanted <= scan::kMostHelpers; ++wanted) {
    REQUIRE(helpers.start(wanted) == wanted);
    helpers.run(count, &job);
    helpers.wait();
  }
  for (std::size_t i = 1; i <= scan::kMostHelpers; ++i) {
    CHECK(job.calls[i] == static_cast<int>(scan::kMostHelpers - i + 1));
  }
}

TEST_CASE("helpers that sleep are woken, by work and by their dismissal") {
  scan::Helpers helpers;
  REQUIRE(helpers.start(2) == 2);
  Job job;
  for (int round = 0; round < 3; ++round) {
    alloc::os_sleep_ns(2'000'000);
    helpers.run(count, &job);
    helpers.wait();
  }
  CHECK(job.calls[1] == 3);
  alloc::os_sleep_ns(2'000'000);
  helpers.dismiss();
}

TEST_CASE("helpers come and go many times, and leave errno and the signal mask of the thread that starts them") {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  sigset_t old;
  pthread_sigmask(SIG_SETMASK, &mask, &old);
  errno = EILSEQ;
  const std::size_t before = threads_now();
  scan::Helpers helpers;
  Job job;
  for (int i = 0; i < 300; ++i) {
    REQUIRE(helpers.start(2) == 2);
    helpers.run(count, &job);
    helpers.wait();
    helpers.dismiss();
    REQUIRE(counts(before));
  }
  CHECK(errno == EILSEQ);
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, &old, &after);
  CHECK(sigismember(&after, SIGUSR2) == 1);
  CHECK(sigismember(&after, SIGUSR1) == 0);
  CHECK(job.calls[1] == 300);
  CHECK(job.calls[2] == 300);
}

// What leaves another processor may be held up there, by whoever needs it more: for milliseconds, one in a hundred.
TEST_CASE("helpers that end on another processor are gone as well") {
  cpu_set_t allowed;
  REQUIRE(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
  int first = 0;
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(first, &allowed)) ++first;
  while (!CPU_ISSET(last, &allowed)) --last;
  if (first == last) MESSAGE("there is one processor only: helpers end on that");
  const std::size_t before = threads_now();
  scan::Helpers helpers;
  int left = 0;
  for (int i = 0; i < 500; ++i) {
    run_on(last);
    REQUIRE(helpers.start(1) == 1);
    run_on(first);
    helpers.dismiss();
    left += counts(before) ? 0 : 1;
  }
  CHECK(left == 0);
  sched_setaffinity(0, sizeof(allowed), &allowed);
}

TEST_CASE("there are fewer idle processors than processors") {
  CHECK(scan::idle_processors() < alloc::os_processor_count());
}
