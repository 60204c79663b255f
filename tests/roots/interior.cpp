// Pointers to other places than the beginning of a block.
// args: middle middle-off last-byte deep tagged second-base cookie
#include <cstddef>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

struct First {
  virtual ~First() = default;
  long first = 1;
};
struct Second {
  virtual ~Second() = default;
  long second = 2;
};
struct Both : First, Second {};
struct Counted {
  ~Counted() { asm volatile(""); }
  long rest[3];
};

std::string_view g_what;
void* volatile g_pointer = nullptr;

// The block of the test is given back: the pointer is to another one.
[[gnu::noinline]] void store(Hidden hidden) {
  std::free(reveal(hidden));
  const auto block = [](std::size_t bytes) { return static_cast<char*>(std::calloc(1, bytes)); };
  if (g_what == "last-byte") {
    g_pointer = block(100) + 99;
  } else if (g_what == "deep") {
    g_pointer = block(std::size_t{10} << 20) + (std::size_t{7} << 20);
  } else if (g_what == "tagged") {
    g_pointer = block(64) + 7;
  } else if (g_what == "second-base") {
    g_pointer = static_cast<Second*>(new Both);
  } else if (g_what == "cookie") {
    g_pointer = new Counted[5];  // behind the number of elements
  } else {
    g_pointer = block(300) + 160;
  }
}
[[gnu::noinline]] void clear() { g_pointer = nullptr; }

}  // namespace

int main(int, char** argv) {
  g_what = argv[1];
  return root_test(argv, "use_globals", store, clear);
}
