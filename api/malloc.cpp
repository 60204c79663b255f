// The C allocation functions, as the program calls them: argument rules and errno of the C library; the work is
// allocate.h's. Compiled with frame pointers and without sibling calls: the origin of each allocation is read from
// the entry point's frame.
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "alloc/os.h"
#include "api/allocate.h"

using arenascan::api::Origin;

namespace {

void* or_enomem(void* object, std::size_t bytes) noexcept {
  if (object == nullptr) [[unlikely]] {
    arenascan::api::tell_no_memory(bytes);
    errno = ENOMEM;
  }
  return object;
}

bool product_overflows(std::size_t count, std::size_t size, std::size_t& bytes) noexcept {
  return __builtin_mul_overflow(count, size, &bytes);
}

[[gnu::noinline]] void* allocate_or_enomem(std::size_t bytes, const Origin origin) noexcept {
  return or_enomem(arenascan::api::long_way::allocate(bytes, origin), bytes);
}

[[gnu::noinline]] void* resize(void* object, std::size_t bytes, Origin origin) noexcept {
  if (object == nullptr) return or_enomem(arenascan::api::allocate(bytes, origin), bytes);
  if (bytes == 0) {  // as the C library does
    arenascan::api::release(object);
    return nullptr;
  }
  return or_enomem(arenascan::api::reallocate(object, bytes, origin), bytes);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

void* malloc(std::size_t size) noexcept {
  const Origin origin = ARENA_ORIGIN(arenascan::alloc::this_code());
  void* const object = arenascan::api::allocate_shortly(size, origin);
  return object != nullptr ? object : allocate_or_enomem(size, origin);
}

void* calloc(std::size_t count, std::size_t size) noexcept {
  std::size_t bytes;
  if (product_overflows(count, size, bytes)) return or_enomem(nullptr, SIZE_MAX);
  return or_enomem(arenascan::api::allocate_zeroed(bytes, ARENA_ORIGIN(arenascan::alloc::this_code())), bytes);
}

void* realloc(void* object, std::size_t size) noexcept {
  return resize(object, size, ARENA_ORIGIN(arenascan::alloc::this_code()));
}

void* reallocarray(void* object, std::size_t count, std::size_t size) noexcept {
  std::size_t bytes;
  if (product_overflows(count, size, bytes)) return or_enomem(nullptr, SIZE_MAX);
  return resize(object, bytes, ARENA_ORIGIN(arenascan::alloc::this_code()));
}

void free(void* object) noexcept {
  if (object != nullptr) arenascan::api::release(object);
}

void free_sized(void* object, std::size_t) noexcept { free(object); }
void free_aligned_sized(void* object, std::size_t, std::size_t) noexcept { free(object); }
void cfree(void* object) noexcept { free(object); }

// An alignment that is no power of two is rounded up to one, as the C library does.
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  return or_enomem(
      arenascan::api::allocate_aligned(size, std::bit_ceil(alignment), ARENA_ORIGIN(arenascan::alloc::this_code())),
      size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (!std::has_single_bit(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return or_enomem(arenascan::api::allocate_aligned(size, alignment, ARENA_ORIGIN(arenascan::alloc::this_code())),
                   size);
}

int posix_memalign(void** object, std::size_t alignment, std::size_t size) noexcept {
  if (!std::has_single_bit(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  void* const got = arenascan::api::allocate_aligned(size, alignment, ARENA_ORIGIN(arenascan::alloc::this_code()));
  if (got == nullptr) {
    arenascan::api::tell_no_memory(size);
    return ENOMEM;
  }
  *object = got;
  return 0;
}

void* valloc(std::size_t size) noexcept {
  return or_enomem(arenascan::api::allocate_aligned(size, arenascan::alloc::kOsPageBytes,
                                                    ARENA_ORIGIN(arenascan::alloc::this_code())),
                   size);
}

void* pvalloc(std::size_t size) noexcept {
  constexpr std::size_t kPage = arenascan::alloc::kOsPageBytes;
  std::size_t bytes;
  if (__builtin_add_overflow(size, kPage - 1, &bytes)) return or_enomem(nullptr, SIZE_MAX);
  return or_enomem(
      arenascan::api::allocate_aligned(bytes & ~(kPage - 1), kPage, ARENA_ORIGIN(arenascan::alloc::this_code())),
      bytes);
}

// Exactly what was asked for: the scan reads no further, so a pointer that the program kept beyond would not count.
std::size_t malloc_usable_size(void* object) noexcept {
  return object == nullptr ? 0 : arenascan::api::process().heap.requested_bytes(object);
}

}  // extern "C"
#pragma GCC visibility pop
