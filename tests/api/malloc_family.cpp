// The C allocation functions: alignment, sizes, zeros, errno, limits.
#include <malloc.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "tests/check.h"

namespace {

bool is_aligned(const void* p, std::size_t alignment) { return reinterpret_cast<std::uintptr_t>(p) % alignment == 0; }

bool is_zero(const void* p, std::size_t bytes) {
  const auto* const at = static_cast<const unsigned char*>(p);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (at[i] != 0) return false;
  }
  return true;
}

volatile std::size_t g_huge = SIZE_MAX / 2;  // volatile: compilers warn about the constants

void test_out_of_memory() {
  for (const std::size_t bytes : {g_huge + 0, SIZE_MAX - 0, std::size_t{1} << 46}) {
    errno = 0;
    CHECK(std::malloc(bytes) == nullptr && errno == ENOMEM);
    errno = 0;
    CHECK(std::calloc(1, bytes) == nullptr && errno == ENOMEM);
    errno = 0;
    CHECK(memalign(64, bytes) == nullptr && errno == ENOMEM);
    void* p = std::malloc(10);
    errno = 0;
    CHECK(std::realloc(p, bytes) == nullptr && errno == ENOMEM);
    std::free(p);
    p = &p;
    errno = 0;
    CHECK(posix_memalign(&p, 64, bytes) == ENOMEM && errno == 0 && p == &p);
  }
  errno = 0;
  CHECK(std::calloc(g_huge, 3) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(reallocarray(nullptr, g_huge, 3) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(pvalloc(SIZE_MAX - 5) == nullptr && errno == ENOMEM);
}

void test_alignment() {
  for (std::size_t alignment = 16; alignment <= std::size_t{1} << 22; alignment *= 2) {
    for (const std::size_t bytes :
         {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5000}, std::size_t{200000}}) {
      void* p = nullptr;
      CHECK(posix_memalign(&p, alignment, bytes) == 0 && is_aligned(p, alignment));
      CHECK(malloc_usable_size(p) == bytes);
      std::memset(p, 1, bytes);
      std::free(p);
      p = std::aligned_alloc(alignment, bytes);
      CHECK(p != nullptr && is_aligned(p, alignment));
      std::free(p);
    }
  }
  void* p = nullptr;
  CHECK(posix_memalign(&p, 24, 8) == EINVAL && posix_memalign(&p, 4, 8) == EINVAL &&
        posix_memalign(&p, 0, 8) == EINVAL);
  volatile std::size_t odd = 48;
  errno = 0;
  CHECK(std::aligned_alloc(odd, 8) == nullptr && errno == EINVAL);
  p = memalign(odd, 8);  // rounded up
  CHECK(p != nullptr && is_aligned(p, 64));
  std::free(p);
  p = valloc(10);
  CHECK(is_aligned(p, 4096));
  std::free(p);
  p = pvalloc(10);
  CHECK(is_aligned(p, 4096) && malloc_usable_size(p) == 4096);
  std::free(p);
}

void test_contents() {
  for (int round = 0; round < 3; ++round) {  // the second time the memory has been used
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{100000}, std::size_t{3000000}}) {
      void* const p = std::calloc(1, bytes);
      CHECK(p != nullptr && is_zero(p, bytes) && malloc_usable_size(p) == bytes);
      std::memset(p, 0xAB, bytes);
      std::free(p);
    }
  }
  auto* p = static_cast<unsigned char*>(std::malloc(1));
  p[0] = 42;
  for (std::size_t bytes = 2; bytes < 5'000'000; bytes = bytes * 3 / 2 + 1) {
    p = static_cast<unsigned char*>(std::realloc(p, bytes));
    CHECK(p[0] == 42 && malloc_usable_size(p) == bytes);
    p[bytes - 1] = 42;
    p = static_cast<unsigned char*>(std::realloc(p, bytes / 2 + 1));
    CHECK(p[0] == 42);
  }
  CHECK(std::realloc(p, 0) == nullptr);  // frees, as the C library does
}

}  // namespace

int main() {
  errno = 4711;
  void* const p = std::malloc(10);
  void* const q = std::malloc(0);
  CHECK(p != nullptr && q != nullptr && p != q && is_aligned(p, 16) && is_aligned(q, 16));
  std::free(p);
  std::free(q);
  std::free(nullptr);
  CHECK(malloc_usable_size(nullptr) == 0);
  CHECK(errno == 4711);
  test_out_of_memory();
  test_alignment();
  test_contents();
  return arenascan::test::finish();
}
