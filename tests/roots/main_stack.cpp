// A local variable of main.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

int main(int, char** argv) {
  void* volatile place = nullptr;
  return root_test(
      argv, "use_stacks", [&place](Hidden hidden) __attribute__((noinline)) { place = reveal(hidden); },
      [&place]() __attribute__((noinline)) { place = nullptr; });
}
