// The one function of <sanitizer/allocator_interface.h> that libFuzzer needs. In a file of its own: a program whose
// runtime defines it, too, leaves this one in the static library.
#include <cstddef>

#include "api/hooks.h"

// Returns a number above 0; or 0 when there are five pairs of hooks already.
extern "C" [[gnu::visibility("default")]] int __sanitizer_install_malloc_and_free_hooks(  // NOLINT(*reserved*)
    void (*on_malloc)(const volatile void*, std::size_t), void (*on_free)(const volatile void*)) {
  return arenascan::api::install_hooks({on_malloc, on_free}) ? 1 : 0;
}
