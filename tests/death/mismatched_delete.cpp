// dies: ^arenascan: mismatched free of 0x[0-9a-f]+: .* that malloc or its kin allocated, by operator delete
#include <cstdlib>
#include <new>

extern "C" const char* arena_default_options() { return "check_mismatch=1"; }

int main() {
  void* volatile p = std::malloc(24);
  ::operator delete(p);
}
