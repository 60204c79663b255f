#include <link.h>
#include <stdlib.h>

#include <array>

#include "alloc/os.h"
#include "alloc/unwind.h"
#include "api/main_end.h"

extern "C" void* __libc_stack_end;                      // glibc: where the main thread's stack began
extern "C" void* __tls_get_addr(void* index) noexcept;  // stands for the dynamic loader

namespace arenascan::api {
namespace {

const char* module_of(std::uintptr_t address) noexcept { return alloc::os_code_place(address).module; }

template <typename Function>
const char* module_of(Function* function) noexcept {
  return module_of(reinterpret_cast<std::uintptr_t>(function));
}

}  // namespace

// Then all frames outwards are the C library's and the loader's, up to the program's entry point.
std::uintptr_t live_stack_after_main() noexcept {
  std::array<std::uintptr_t, 64> frames;
  const std::size_t count = alloc::unwind_slow(frames.data(), frames.size());
  const char* const own = module_of(&live_stack_after_main);
  const char* const library = module_of(&::exit);
  const char* const loader = module_of(&__tls_get_addr);
  std::size_t at = 0;
  while (at < count && module_of(frames[at] - 1) == own) ++at;
  while (at < count && (module_of(frames[at] - 1) == library || module_of(frames[at] - 1) == loader)) ++at;
  const bool is_entry_point = at + 1 == count && module_of(frames[at] - 1) != nullptr;
  return at > 0 && is_entry_point ? reinterpret_cast<std::uintptr_t>(__libc_stack_end) : 0;
}

}  // namespace arenascan::api
