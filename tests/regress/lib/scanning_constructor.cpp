// A library whose constructor, with the loader's lock held, waits for a thread that scans.
#include <dlfcn.h>

#include <cstddef>
#include <thread>

extern "C" [[gnu::visibility("default")]] std::size_t g_scans_of_constructor;
std::size_t g_scans_of_constructor = 0;

namespace {

[[gnu::constructor]] void scan_in_thread() {
  auto* const scan = reinterpret_cast<std::size_t (*)()>(dlsym(RTLD_DEFAULT, "arena_scan"));
  if (scan == nullptr) return;
  std::thread([scan] {
    scan();
    ++g_scans_of_constructor;
  }).join();
}

}  // namespace
