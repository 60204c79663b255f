// A thread-local variable of the main thread.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

static thread_local void* volatile t_pointer = nullptr;

[[gnu::noinline]] void store(Hidden hidden) { t_pointer = reveal(hidden); }
[[gnu::noinline]] void clear() { t_pointer = nullptr; }

int main(int, char** argv) { return root_test(argv, "use_tls", store, clear); }
