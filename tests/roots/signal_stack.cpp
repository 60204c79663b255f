// A local variable of a handler that runs on a signal stack; and memory of a signal stack that nobody runs on.
// args: on off idle idle-off
#include <signal.h>
#include <unistd.h>

#include <semaphore>
#include <thread>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 16;
void* volatile* volatile g_place = nullptr;
std::binary_semaphore g_end(0);

void hold(int) {
  void* volatile place = nullptr;
  g_place = &place;
  g_end.acquire();
}

void run_on_signal_stack() {
  stack_t stack{};
  stack.ss_sp = map_apart(kStackBytes);
  stack.ss_size = kStackBytes;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = hold;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  if (std::string_view(argv[1]).starts_with("idle")) {
    stack_t stack{};
    stack.ss_sp = map_apart(kStackBytes);
    stack.ss_size = kStackBytes;
    sigaltstack(&stack, nullptr);
    g_place = static_cast<void**>(stack.ss_sp) + 100;
    return root_test(argv, "use_mappings", store, clear);
  }
  std::thread holder(run_on_signal_stack);
  while (g_place == nullptr) usleep(100);
  const int failures = root_test(argv, "use_stacks", store, clear);
  g_end.release();
  holder.join();
  return failures;
}
