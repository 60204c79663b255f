// LeakSanitizer's tests of the stop: signal_during_stop_the_world (a storm of signals from another process),
// libdl_deadlock (another thread allocates while it holds the loader's lock), leak_check_segv (memory that the program
// has closed), fork_and_leak, fork_threaded, and its unit tests of the stop (no thread goes on meanwhile; threads that
// start and end).
// args: signals loader closed fork fork-threaded threads
#include <link.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

void test_signals() {
  struct sigaction ignore {};
  ignore.sa_handler = [](int) {};
  CHECK(sigaction(SIGPROF, &ignore, nullptr) == 0 && sigaction(SIGCHLD, &ignore, nullptr) == 0);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) {
      kill(parent, SIGCHLD);
      kill(parent, SIGPROF);
    }
    _exit(0);
  }
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) std::this_thread::yield();
  });
  const std::uint32_t mark = arena_mark();
  allocate_hidden();
  for (int i = 0; i < 100; ++i) expect_lost("in the storm", lost_since(mark), {1, 0});
  done = true;
  other.join();
  kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
}

void test_loader() {
  static std::binary_semaphore ready(0);
  static std::atomic<bool> done{false};
  std::thread other([] {
    dl_iterate_phdr(
        [](dl_phdr_info*, std::size_t, void*) {
          for (int round = 0; !done && round < 200; ++round) {
            void* blocks[1000];
            for (std::size_t i = 0; i < std::size(blocks); ++i) blocks[i] = std::malloc(10 * i);
            if (round == 0) ready.release();
            for (void* const block : blocks) std::free(block);
          }
          return 1;
        },
        nullptr);
  });
  ready.acquire();
  for (int i = 0; i < 10; ++i) expect_lost("beside the loader's lock", lost_since(0), {0, 0});
  done = true;
  other.join();
}

char g_data[10 << 20];

void test_closed() {
  static void* volatile place = std::malloc(sizeof(g_data));
  constexpr std::uintptr_t kPage = 4096;
  const auto page_of = [](void* p) {
    return reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(p) + kPage - 1) & ~(kPage - 1));
  };
  std::memset(g_data, 1, sizeof(g_data));
  std::memset(place, 1, sizeof(g_data));
  CHECK(mprotect(page_of(place), 16 * 1024, PROT_NONE) == 0);
  CHECK(mprotect(page_of(g_data), 16 * 1024, PROT_NONE) == 0);
  const std::uint32_t mark = arena_mark();
  allocate_hidden();
  expect_lost("beside closed memory", lost_since(mark), {1, 0});
}

int status_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) != child) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The child alone loses something.
void test_fork() {
  const std::uint32_t mark = arena_mark();
  const pid_t child = fork();
  if (child == 0) {
    allocate_hidden();
    expect_lost("in the child", lost_since(mark), {1, 0});
    _exit(finish());
  }
  CHECK(status_of(child) == 0);
  expect_lost("in the parent", lost_since(mark), {0, 0});
}

// By a thread, while others have something on their stacks.
void test_fork_threaded() {
  std::binary_semaphore ready(0);
  std::binary_semaphore end(0);
  std::thread holder([&] {
    [[maybe_unused]] void* volatile place = std::malloc(1337);
    ready.release();
    end.acquire();
    std::free(place);
  });
  ready.acquire();
  std::thread([] {
    const std::uint32_t mark = arena_mark();
    const pid_t child = fork();
    if (child == 0) {
      expect_lost("in the child", lost_since(0), {0, 0});
      allocate_hidden();
      expect_lost("of the child", lost_since(mark), {1, 0});
      _exit(finish());
    }
    CHECK(status_of(child) == 0);
  }).join();
  end.release();
  holder.join();
}

void test_threads() {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!done) std::thread([] {}).join();
    });
  }
  const std::uint32_t mark = arena_mark();
  allocate_hidden();
  for (int i = 0; i < 100; ++i) expect_lost("beside threads that come and go", lost_since(mark), {1, 0});
  done = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int, char** argv) {
  const std::string_view what(argv[1]);
  if (what == "signals") test_signals();
  if (what == "loader") test_loader();
  if (what == "closed") test_closed();
  if (what == "fork") test_fork();
  if (what == "fork-threaded") test_fork_threaded();
  if (what == "threads") test_threads();
  return finish();
}
