// `new T[0]` of a type with a destructor: the program's pointer stands behind the array's length, where the block ends.
#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

struct Item {
  ~Item() { asm volatile("" : : : "memory"); }
  char bytes[3];
};

Item* g_items = nullptr;

}  // namespace

int main() {
  const arena::leak_scope scope;
  g_items = new Item[0];
  CHECK(scope.leaks() == 0);
  delete[] g_items;
  return arenascan::test::finish();
}
