// The main thread has left by pthread_exit and another one goes on: /proc/self is the main thread's and has no mappings
// any more, but the process has.
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>

#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

void* g_global = nullptr;
pthread_t g_main;

void* go_on(void*) {
  pthread_join(g_main, nullptr);
  const arena::leak_scope scope;
  g_global = std::malloc(40);
  const arena::report found = scope.scan();
  CHECK(found.complete());
  CHECK(!found.has_leaks());
  std::free(g_global);
  std::exit(arenascan::test::finish());
}

}  // namespace

int main() {
  g_main = pthread_self();
  pthread_t other;
  if (pthread_create(&other, nullptr, go_on, nullptr) != 0) return 1;
  pthread_exit(nullptr);
}
