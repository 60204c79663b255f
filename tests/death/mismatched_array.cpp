// dies: ^arenascan: mismatched free of .* that operator new\[\] allocated, by operator delete; allocated by 0x
#include <new>

extern "C" const char* arena_default_options() { return "check_mismatch=1"; }

int main() {
  void* volatile p = ::operator new[](24);
  ::operator delete(p);
}
