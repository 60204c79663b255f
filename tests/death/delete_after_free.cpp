// dies: ^arenascan: double free of 0x[0-9a-f]+: a block of 4 bytes
#include <cstdlib>

int main() {
  int* volatile p = new int;
  std::free(p);
  delete p;
}
