// A local variable of another thread, which is blocked.
#include <semaphore>
#include <thread>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

volatile Hidden g_hidden = 0;
enum class Order { kStore, kClear, kEnd };
volatile Order g_order = Order::kStore;
std::counting_semaphore<> g_go(0);
std::counting_semaphore<> g_done(0);

// A function of its own, so that no register of hold() has the pointer.
[[gnu::noinline]] void put(void* volatile& place, bool store) { place = store ? reveal(g_hidden) : nullptr; }

void hold() {
  void* volatile place = nullptr;
  for (;;) {
    g_go.acquire();
    if (g_order == Order::kEnd) return;
    put(place, g_order == Order::kStore);
    scrub_stack();
    g_done.release();
  }
}

void give(Order order) {
  g_order = order;
  g_go.release();
  if (order != Order::kEnd) g_done.acquire();
}

[[gnu::noinline]] void store(Hidden hidden) {
  g_hidden = hidden;
  give(Order::kStore);
}
[[gnu::noinline]] void clear() { give(Order::kClear); }

}  // namespace

int main(int, char** argv) {
  std::thread holder(hold);
  const int failures = root_test(argv, "use_stacks", store, clear);
  give(Order::kEnd);
  holder.join();
  return failures;
}
