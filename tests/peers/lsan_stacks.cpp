// LeakSanitizer's tests of stacks: swapcontext (a coroutine that has ended, on the heap and on the stack), guard-page
// (a thread that never leaves a small stack on the heap), stale_stack_leak, use_after_return.
// args: swapcontext-heap swapcontext-stack guard-page stale
#include <pthread.h>
#include <ucontext.h>

#include <atomic>
#include <memory>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 20;

[[gnu::noinline]] void coroutine() { used(new int[666]); }

void test_swapcontext(bool is_on_heap) {
  alignas(16) char on_stack[kStackBytes];
  const std::uint32_t mark = arena_mark();
  std::unique_ptr<char[]> on_heap(new char[kStackBytes]);
  ucontext_t home;
  ucontext_t away;
  getcontext(&away);
  away.uc_stack.ss_sp = is_on_heap ? on_heap.get() : on_stack;
  away.uc_stack.ss_size = kStackBytes / 2;
  away.uc_link = &home;
  makecontext(&away, coroutine, 0);
  CHECK(swapcontext(&home, &away) == 0);
  std::memset(on_stack, 0, sizeof(on_stack));
  used(on_stack + 0);
  std::memset(&away, 0, sizeof(away));
  used(&away);
  on_heap.reset();
  expect_lost("by a coroutine that has ended", lost_since(mark), {1, 0});
}

std::atomic<bool> g_runs{false};

void test_guard_page() {
  pthread_t thread;
  const auto run = [](void*) -> void* {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_size = 16384;
    context.uc_stack.ss_sp = std::malloc(context.uc_stack.ss_size);
    const auto stay = [] {
      g_runs = true;
      for (;;) asm volatile("pause");
    };
    makecontext(&context, stay, 0);
    setcontext(&context);
    return nullptr;
  };
  CHECK(pthread_create(&thread, nullptr, run, nullptr) == 0);
  while (!g_runs) usleep(100);
  for (int i = 0; i < 10; ++i) expect_lost("beside a thread on the heap", lost_since(0), {0, 0});
}

// A pointer in the frame of a function that has returned.
[[gnu::noinline]] void leave_behind() {
  volatile std::uintptr_t words[1000];
  for (volatile std::uintptr_t& word : words) word = 0;
  words[500] = reinterpret_cast<std::uintptr_t>(used(std::malloc(1337)));
}

void test_stale() {
  const std::uint32_t mark = arena_mark();
  leave_behind();
  expect_lost("left in a dead frame", lost_since(mark), {1, 0});
}

}  // namespace

int main(int, char** argv) {
  const std::string_view what(argv[1]);
  if (what == "swapcontext-heap") test_swapcontext(true);
  if (what == "swapcontext-stack") test_swapcontext(false);
  if (what == "guard-page") test_guard_page();
  if (what == "stale") test_stale();
  std::fflush(stdout);
  _exit(finish());  // a thread may never end
}
