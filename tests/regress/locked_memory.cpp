// Memory that the program has locked (mlockall) cannot be given back to the system: madvise refuses. What was freed is
// not zero then, and calloc has to clear it.
#include <sys/mman.h>
#include <time.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/check.h"

extern "C" const char* arena_default_options() { return "decay_ms=1"; }

namespace {

// The compiler knows what malloc and calloc are for.
template <typename T>
T* used(T* p) {
  asm volatile("" : "+r"(p) : : "memory");
  return p;
}

}  // namespace

int main() {
  constexpr std::size_t kBytes = 1'000'000;
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    void* const memory = used(std::malloc(kBytes));
    std::memset(memory, 0x55, kBytes);
    if (mlock(memory, kBytes) != 0) {
      std::printf("NOT TESTED: no memory can be locked: %s\n", std::strerror(errno));
      return 1;
    }
    void* const other = used(std::malloc(kBytes));
    std::free(memory);
    const timespec pause{0, 3'000'000};
    nanosleep(&pause, nullptr);
    std::free(other);  // time to look for what has been unused for long
    auto* const again = used(static_cast<unsigned char*>(std::calloc(1, kBytes)));
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < kBytes; ++i) wrong += again[i] != 0 ? 1 : 0;
    CHECK(wrong == 0);
    std::free(again);
  }
  return arenascan::test::finish();
}
