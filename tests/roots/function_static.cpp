// A static variable inside a function.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

[[gnu::noinline]] void*& place() {
  static void* pointer = nullptr;
  return pointer;
}
[[gnu::noinline]] void store(Hidden hidden) { place() = reveal(hidden); }
[[gnu::noinline]] void clear() { place() = nullptr; }

int main(int, char** argv) { return root_test(argv, "use_globals", store, clear); }
