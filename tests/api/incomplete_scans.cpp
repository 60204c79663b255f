// A scan that cannot tell says so and why, claims no leak, and spoils nothing: where what stood in its way is gone, the
// next one is whole and finds what is lost.
// args: blocked taken no-proc no-memory cancelled
#include <arenascan/arena.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

extern "C" const char* arena_default_options() { return "stop_timeout_ms=50"; }

namespace {

constexpr std::size_t kLost = 5;

arena_scan_result scan(int (*progress)(const arena_progress*, void*) = nullptr) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.progress = progress;
  arena_scan_result result{};
  result.size = sizeof(result);
  errno = 4711;
  CHECK(arena_scan_ex(&options, &result) == 0);
  CHECK(errno == 4711);
  return result;
}

void check_incomplete(const arena_scan_result& result, int why) {
  if (result.incomplete != why) std::fprintf(stderr, "%d (%s)\n", result.incomplete, result.incomplete_why);
  CHECK(result.incomplete == why);
  CHECK(std::strlen(result.incomplete_why) > 10);
  CHECK(result.leaked.objects == 0 && result.leaked.bytes == 0);
}

void check_whole() {
  const arena_scan_result result = scan();
  CHECK(result.incomplete == ARENA_COMPLETE);
  CHECK(result.leaked.objects == kLost);
}

// A filter that lets all calls pass, which the library cannot know.
void filter_calls() {
  sock_filter rules[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{std::size(rules), rules};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

// By its name, which the library's pthread_sigmask would let pass for a set of all; so by the kernel. It would be
// traced if calls were not filtered.
void test_blocked() {
  filter_calls();
  std::atomic<int> id{0};
  std::atomic<bool> done{false};
  std::thread blocked([&] {
    const std::uint64_t all = ~std::uint64_t{0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
    id = static_cast<int>(syscall(SYS_gettid));
    while (!done) std::this_thread::yield();
  });
  while (id == 0) std::this_thread::yield();
  const arena_scan_result result = scan();
  check_incomplete(result, ARENA_INCOMPLETE_THREAD_NOT_STOPPED);
  CHECK(result.incomplete_thread == id);
  done = true;
  blocked.join();
  check_whole();
}

void test_taken() {
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) std::this_thread::yield();
  });
  CHECK(scan().incomplete == ARENA_COMPLETE);  // has its handler from now on
  struct sigaction ours {};
  struct sigaction other_action {};
  other_action.sa_handler = SIG_IGN;
  CHECK(sigaction(SIGRTMAX - 3, &other_action, &ours) == 0);
  check_incomplete(scan(), ARENA_INCOMPLETE_SIGNAL_TAKEN);
  CHECK(sigaction(SIGRTMAX - 3, &ours, nullptr) == 0);
  check_whole();
  done = true;
  other.join();
}

// For the rest of the process's life.
void test_no_proc() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_open, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOENT),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(rules), rules};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  check_incomplete(scan(), ARENA_INCOMPLETE_MAPS_UNREADABLE);
}

// Before the first scan, which is when the scanner takes its memory.
void test_no_memory() {
  rlimit before{};
  CHECK(getrlimit(RLIMIT_AS, &before) == 0);
  const rlimit none{1 << 20, before.rlim_max};
  CHECK(setrlimit(RLIMIT_AS, &none) == 0);
  check_incomplete(scan(), ARENA_INCOMPLETE_NO_MEMORY);
  CHECK(setrlimit(RLIMIT_AS, &before) == 0);
  check_whole();
}

void test_cancelled() {
  check_incomplete(scan([](const arena_progress*, void*) { return 1; }), ARENA_INCOMPLETE_CANCELLED);
  check_whole();
}

}  // namespace

int main(int, char** argv) {
  const std::string_view what(argv[1]);
  for (std::size_t i = 0; i < kLost; ++i) allocate_hidden();
  scrub_stack();
  if (what == "blocked") test_blocked();
  if (what == "taken") test_taken();
  if (what == "no-proc") test_no_proc();
  if (what == "no-memory") test_no_memory();
  if (what == "cancelled") test_cancelled();
  return finish();
}
