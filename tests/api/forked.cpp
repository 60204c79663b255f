// Scans in forked children of a program with threads: what the vanished threads held is inherited, what the child loses
// is lost, and nothing hangs although other threads allocate and scan all the time.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <semaphore>
#include <thread>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

std::atomic<bool> g_done{false};

// Keeps no pointers: what a vanished thread's vector still holds of freed blocks would keep the child's blocks alive.
void allocate_and_free() {
  for (std::size_t i = 0; !g_done; ++i) std::free(std::malloc(10 + i % 3000));
}

// Holds a block in a register and nowhere else.
void hold_in_register() {
  while (!g_done) {
    void* block = std::malloc(64);
    for (int i = 0; i < 10'000; ++i) asm volatile("" : "+r"(block));
    std::free(block);
  }
}

void scan() {
  while (!g_done) {
    arena_scan();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void* volatile* volatile g_place = nullptr;
std::binary_semaphore g_ready(0);
std::binary_semaphore g_end(0);

void hold() {
  void* volatile place = nullptr;
  g_place = &place;
  g_ready.release();
  g_end.acquire();
}

[[gnu::noinline]] void put(Hidden hidden) { *g_place = reveal(hidden); }

template <typename Child>
void in_child(const Child& run) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(run());
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// What lies on the stack of a thread that the child does not have is held in the child all the same.
void test_inherited_stack() {
  std::thread holder(hold);
  g_ready.acquire();
  const std::uint32_t mark = arena_mark();
  put(allocate_hidden());
  scrub_stack();
  in_child([mark] {
    const int failures = expect("on an inherited stack", leaked_since(mark), 0);
    put(allocate_hidden());
    scrub_stack();
    return failures + expect("put there by the child", leaked_since(mark), 0);
  });
  g_end.release();
  holder.join();
}

[[gnu::noinline]] int run_child() {
  if (expect("inherited", leaked_since(0), 0) != 0) return 1;
  const std::uint32_t mark = arena_mark();
  allocate_hidden();
  std::thread([] { allocate_hidden(); }).join();
  scrub_stack();
  return expect("lost in the child", leaked_since(mark), 2);
}

}  // namespace

int main() {
  test_inherited_stack();
  std::thread workers[] = {std::thread(allocate_and_free), std::thread(allocate_and_free), std::thread(scan),
                           std::thread(hold_in_register)};
  for (int i = 0; i < 20; ++i) in_child(run_child);
  g_done = true;
  for (std::thread& worker : workers) worker.join();
  return finish();
}
