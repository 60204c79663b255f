// dies: ^arenascan: invalid free of 0x[0-9a-f]+: not of this heap
#include <cstdlib>

int main() {
  int on_stack = 0;
  void* volatile p = &on_stack;
  std::free(p);
}
