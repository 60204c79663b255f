// Threads that block every signal are traced for a scan. The program sees nothing of it: no child, no signal, no time
// lost from a sleep, nothing taken from a signal that came meanwhile.
#include <arenascan/arena.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/check.h"
#include "tests/roots/deaf.h"

using namespace arenascan::test;
using namespace std::chrono_literals;

namespace {

constexpr int kThreads = 9;
std::atomic<int> g_ready{0};
std::atomic<bool> g_done{false};
std::atomic<int> g_children_seen{0};
std::atomic<int> g_taken{0};

void on_child(int) { ++g_children_seen; }
void on_signal(int) { ++g_taken; }

void spin() {
  block_all_signals();
  ++g_ready;
  while (!g_done) std::this_thread::yield();
}

// A sleep of its own, that nobody else makes again.
void sleep_well() {
  block_all_signals();
  ++g_ready;
  while (!g_done) {
    const auto began = std::chrono::steady_clock::now();
    const timespec duration{0, 20'000'000};
    CHECK(syscall(SYS_nanosleep, &duration, nullptr) == 0);
    CHECK(std::chrono::steady_clock::now() - began >= 20ms);
  }
}

// Takes what was sent to it when it lets signals in.
void take_signals() {
  block_all_signals();
  ++g_ready;
  const std::uint64_t all = ~std::uint64_t{0};
  const std::uint64_t none = 0;
  while (!g_done) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none));
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
    std::this_thread::yield();
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none));
}

// Deaf for about as long as a scan waits before it traces, so that it may hear again at any moment of that.
void hear_now_and_then() {
  block_all_signals();
  ++g_ready;
  const std::uint64_t all = ~std::uint64_t{0};
  const std::uint64_t none = 0;
  for (unsigned i = 0; !g_done; ++i) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none));
    std::this_thread::yield();
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
    const timespec duration{0, 500'000 * static_cast<long>(i % 16)};
    syscall(SYS_nanosleep, &duration, nullptr);
  }
}

arena_scan_result scan() {
  arena_scan_result result{};
  result.size = sizeof(result);
  errno = 4711;
  CHECK(arena_scan_ex(nullptr, &result) == 0);
  CHECK(errno == 4711);
  return result;
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = on_child;
  CHECK(sigaction(SIGCHLD, &action, nullptr) == 0);
  action.sa_handler = on_signal;
  CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(spin);
  for (int i = 0; i < 4; ++i) threads.emplace_back(hear_now_and_then);
  threads.emplace_back(sleep_well);
  std::thread taker(take_signals);
  while (g_ready < kThreads) std::this_thread::yield();

  constexpr std::size_t kLost = 3;
  for (std::size_t i = 0; i < kLost; ++i) allocate_hidden();
  scrub_stack();
  constexpr int kScans = 500;
  for (int i = 0; i < kScans; ++i) {
    CHECK(pthread_kill(taker.native_handle(), SIGUSR1) == 0);
    const arena_scan_result result = scan();
    if (result.incomplete != ARENA_COMPLETE) std::fprintf(stderr, "incomplete: %s\n", result.incomplete_why);
    CHECK(result.incomplete == ARENA_COMPLETE);
    CHECK(result.threads >= kThreads);
    CHECK(result.leaked.objects == kLost);
    CHECK(waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);
    for (int waits = 0; g_taken == i && waits < 10'000; ++waits) std::this_thread::sleep_for(1ms);
    CHECK(g_taken == i + 1);
  }
  CHECK(g_children_seen == 0);
  g_done = true;
  for (std::thread& thread : threads) thread.join();
  taker.join();
  return finish();
}
