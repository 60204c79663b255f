// What arenascan_add_fuzzer links in front of LLVMFuzzerTestOneInput (linker option --wrap).
#include <cstdint>

#include "arenascan/fuzz.h"

// NOLINTBEGIN(*reserved-identifier,*identifier-naming)
extern "C" int __real_LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int __wrap_LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  arena_input_begin();
  const int result = __real_LLVMFuzzerTestOneInput(data, size);
  arena_input_end();
  return result;
}
// NOLINTEND(*reserved-identifier,*identifier-naming)
