// dies: ^arenascan: mismatched free of .* that operator new allocated, by free or realloc
#include <cstdlib>

extern "C" const char* arena_default_options() { return "check_mismatch=1"; }

int main() {
  void* volatile p = ::operator new(24);
  p = std::realloc(p, 48);
}
