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

// The functions behind pointers that the compiler cannot see through: it knows malloc and would reason failures away.
void* (*volatile do_malloc)(std::size_t) = std::malloc;
void* (*volatile do_calloc)(std::size_t, std::size_t) = std::calloc;
void* (*volatile do_realloc)(void*, std::size_t) = std::realloc;
void* (*volatile do_reallocarray)(void*, std::size_t, std::size_t) = reallocarray;
void* (*volatile do_memalign)(std::size_t, std::size_t) = memalign;
void* (*volatile do_aligned_alloc)(std::size_t, std::size_t) = std::aligned_alloc;
void* (*volatile do_pvalloc)(std::size_t) = pvalloc;

volatile std::size_t g_huge = SIZE_MAX / 2;  // volatile: compilers warn about the constants

void test_out_of_memory() {
  for (const std::size_t bytes : {g_huge + 0, SIZE_MAX - 0, std::size_t{1} << 46}) {
    errno = 0;
    CHECK(do_malloc(bytes) == nullptr && errno == ENOMEM);
    errno = 0;
    CHECK(do_calloc(1, bytes) == nullptr && errno == ENOMEM);
    errno = 0;
    CHECK(do_memalign(64, bytes) == nullptr && errno == ENOMEM);
    void* p = do_malloc(10);
    errno = 0;
    CHECK(do_realloc(p, bytes) == nullptr && errno == ENOMEM);
    std::free(p);
    p = &p;
    errno = 0;
    CHECK(posix_memalign(&p, 64, bytes) == ENOMEM && errno == 0 && p == &p);
  }
  errno = 0;
  CHECK(do_calloc(g_huge, 3) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(do_reallocarray(nullptr, g_huge, 3) == nullptr && errno == ENOMEM);
  const std::size_t half = g_huge + 2;  // twice as many bytes are 2, to who does not look
  errno = 0;
  CHECK(do_calloc(half, 2) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(do_reallocarray(nullptr, half, 2) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(do_pvalloc(SIZE_MAX - 5) == nullptr && errno == ENOMEM);
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
      p = do_aligned_alloc(alignment, bytes);
      CHECK(p != nullptr && is_aligned(p, alignment));
      std::free(p);
    }
  }
  void* p = nullptr;
  CHECK(posix_memalign(&p, 24, 8) == EINVAL && posix_memalign(&p, 4, 8) == EINVAL &&
        posix_memalign(&p, 0, 8) == EINVAL);
  volatile std::size_t odd = 48;
  errno = 0;
  CHECK(do_aligned_alloc(odd, 8) == nullptr && errno == EINVAL);
  p = do_memalign(odd, 8);  // rounded up
  CHECK(p != nullptr && is_aligned(p, 64));
  std::free(p);
  p = valloc(10);
  CHECK(is_aligned(p, 4096));
  std::free(p);
  p = do_pvalloc(10);
  CHECK(is_aligned(p, 4096) && malloc_usable_size(p) == 4096);
  std::free(p);
}

void test_contents() {
  for (int round = 0; round < 3; ++round) {  // the second time the memory has been used
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{100000}, std::size_t{3000000}}) {
      void* const p = do_calloc(1, bytes);
      CHECK(p != nullptr && is_zero(p, bytes) && malloc_usable_size(p) == bytes);
      std::memset(p, 0xAB, bytes);
      std::free(p);
    }
  }
  auto* p = static_cast<unsigned char*>(do_malloc(1));
  p[0] = 42;
  for (std::size_t bytes = 2; bytes < 5'000'000; bytes = bytes * 3 / 2 + 1) {
    p = static_cast<unsigned char*>(do_realloc(p, bytes));
    CHECK(p[0] == 42 && malloc_usable_size(p) == bytes);
    p[bytes - 1] = 42;
    p = static_cast<unsigned char*>(do_realloc(p, bytes / 2 + 1));
    CHECK(p[0] == 42);
  }
  CHECK(do_realloc(p, 0) == nullptr);  // frees, as the C library does
}

}  // namespace

int main() {
  errno = 4711;
  void* const p = do_malloc(10);
  void* const q = do_malloc(0);
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
