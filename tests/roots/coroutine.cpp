// A local variable of a coroutine that is suspended: its frame lies on the heap, and its handle in a global variable.
#include <coroutine>
#include <exception>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

struct Task {
  struct promise_type {
    Task get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

Task g_task;
void* volatile* g_place = nullptr;

Task hold() {
  void* volatile place = nullptr;
  g_place = &place;
  co_await std::suspend_always{};
  place = nullptr;
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  g_task = hold();
  return root_test(argv, "use_globals", store, clear);
}
