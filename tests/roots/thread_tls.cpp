// A thread-local variable of another thread, whose stack is the C library's or one that the program brought.
// args: on off own own-off
#include <pthread.h>
#include <sys/mman.h>

#include <semaphore>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

thread_local void* volatile t_pointer = nullptr;
void* volatile* volatile g_place = nullptr;
std::binary_semaphore g_ready(0);
std::binary_semaphore g_end(0);

void* hold(void*) {
  g_place = &t_pointer;
  g_ready.release();
  g_end.acquire();
  return nullptr;
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  constexpr std::size_t kStackBytes = std::size_t{1} << 20;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (std::strncmp(argv[1], "own", 3) == 0) {
    void* const stack =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    pthread_attr_setstack(&attributes, stack, kStackBytes);
  }
  pthread_t holder;
  pthread_create(&holder, &attributes, hold, nullptr);
  g_ready.acquire();
  const int failures = root_test(argv, "use_tls", store, clear);
  g_end.release();
  pthread_join(holder, nullptr);
  return failures;
}
