// Thread-specific data: one of the first keys, which live in the thread's descriptor, and one of the later ones.
// args: on off later later-off
#include <pthread.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

static pthread_key_t g_key;

[[gnu::noinline]] void store(Hidden hidden) { pthread_setspecific(g_key, reveal(hidden)); }
[[gnu::noinline]] void clear() { pthread_setspecific(g_key, nullptr); }

int main(int, char** argv) {
  const bool is_later = std::strncmp(argv[1], "later", 5) == 0;
  for (int i = 0; i < (is_later ? 200 : 1); ++i) pthread_key_create(&g_key, nullptr);
  static int dummy;
  pthread_setspecific(g_key, &dummy);  // makes the block of later keys before the test counts births
  return root_test(argv, "use_tls", store, clear);
}
