// dies: ^arenascan: double free of 0x[0-9a-f]+: a block of 40 bytes
#include <cstdlib>
#include <thread>

// Freed by two threads, neither of which allocated it.
int main() {
  void* volatile p = std::malloc(40);
  std::thread([&] { std::free(p); }).join();
  std::thread([&] { std::free(p); }).join();
}
