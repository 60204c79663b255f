// A libFuzzer target of 1,000 live objects that asks for a leak check after each input, for run_fuzz.sh. It leaks
// nothing: what is measured is what looking costs.
#include <sanitizer/lsan_interface.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

struct Node {
  Node* next;
  char data[32];
};
Node* g_list;
void* volatile g_work;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  for (int i = 0; i < 1000; ++i) g_list = new Node{g_list, {}};
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  void* const copy = std::malloc(size + 1);
  std::memcpy(copy, data, size);
  g_work = copy;
  std::free(copy);
  g_work = nullptr;
  if (__lsan_do_recoverable_leak_check() != 0) std::abort();
  return 0;
}
