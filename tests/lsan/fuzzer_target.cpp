// A target for libfuzzer.sh. It loses memory for one input in some; what an input leaves behind for the next one to
// free is no leak, nor is what threads allocate and free, through all functions; one object is lost before any input.
#include <cstdint>
#include <cstdlib>
#include <thread>

static void* volatile g_left_behind;
static void* volatile g_hide;

[[gnu::noinline]] static void lose(std::size_t bytes) {
  g_hide = std::malloc(bytes);
  g_hide = nullptr;
}

[[gnu::noinline]] static void use_all_functions() {
  void* p = std::calloc(3, 5);
  p = std::realloc(p, 400);
  p = std::realloc(p, 300000);
  g_hide = p;
  std::free(p);
  g_hide = p = std::aligned_alloc(64, 128);
  std::free(p);
  auto* const wide = new (std::align_val_t{128}) char[256];
  g_hide = wide;
  ::operator delete[](wide, std::align_val_t{128});
  g_hide = nullptr;
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
#ifdef LOST_BEFORE
  lose(31);
#endif
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::free(g_left_behind);
  g_left_behind = std::malloc(1 + size);
  if (size > 2 && data[0] == 'T') std::thread(use_all_functions).join();
  use_all_functions();
#ifndef NEVER_LOSES
  if (size > 1 && data[0] == 'L') lose(10);
#endif
  return 0;
}
