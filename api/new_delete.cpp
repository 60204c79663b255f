// Every replaceable operator new and operator delete.
//
// The standard defines the array, nothrow and sized forms by simpler ones, so that a program which replaces only those
// gets all of them. That is kept: a form calls the simpler operator when the program has replaced it, and does the work
// itself when not, which leaves one frame in the allocation's stack. All are weak, so that a program linked with the
// static library may define its own. Compiled with frame pointers, from which the origin of an allocation is read.
#include <new>

#include "api/allocate.h"
#include "api/new_delete.h"

using arenascan::api::Origin;
using std::align_val_t;
using std::nothrow_t;
using std::size_t;

#define ARENA_NEW [[gnu::weak, gnu::visibility("default")]] void*
#define ARENA_DELETE [[gnu::weak, gnu::visibility("default")]] void

ARENA_NEW operator new(size_t);
ARENA_NEW operator new[](size_t);
ARENA_NEW operator new(size_t, align_val_t);
ARENA_NEW operator new[](size_t, align_val_t);
ARENA_DELETE operator delete(void*) noexcept;
ARENA_DELETE operator delete[](void*) noexcept;
ARENA_DELETE operator delete(void*, align_val_t) noexcept;
ARENA_DELETE operator delete[](void*, align_val_t) noexcept;

// This file's definitions by names that nothing can replace.
extern "C" {
#define ARENA_OWN(symbol) gnu::alias(symbol), gnu::visibility("hidden")
#define ARENA_OWN_NEW(symbol) [[ARENA_OWN(symbol), gnu::malloc, gnu::alloc_size(1)]] extern void*
ARENA_OWN_NEW("_Znwm") arenascan_own_new(size_t);
ARENA_OWN_NEW("_Znam") arenascan_own_new_array(size_t);
ARENA_OWN_NEW("_ZnwmSt11align_val_t") arenascan_own_new_aligned(size_t, align_val_t);
ARENA_OWN_NEW("_ZnamSt11align_val_t") arenascan_own_new_array_aligned(size_t, align_val_t);
[[ARENA_OWN("_ZdlPv")]] extern void arenascan_own_delete(void*) noexcept;
[[ARENA_OWN("_ZdaPv")]] extern void arenascan_own_delete_array(void*) noexcept;
[[ARENA_OWN("_ZdlPvSt11align_val_t")]] extern void arenascan_own_delete_aligned(void*, align_val_t) noexcept;
[[ARENA_OWN("_ZdaPvSt11align_val_t")]] extern void arenascan_own_delete_array_aligned(void*, align_val_t) noexcept;
#undef ARENA_OWN_NEW
#undef ARENA_OWN
}

namespace {

using New = void* (*)(size_t);
using AlignedNew = void* (*)(size_t, align_val_t);
using Delete = void (*)(void*) noexcept;
using AlignedDelete = void (*)(void*, align_val_t) noexcept;

bool new_is_ours() noexcept { return static_cast<New>(&::operator new) == &arenascan_own_new; }
bool new_array_is_ours() noexcept {
  return new_is_ours() && static_cast<New>(&::operator new[]) == &arenascan_own_new_array;
}
bool aligned_new_is_ours() noexcept { return static_cast<AlignedNew>(&::operator new) == &arenascan_own_new_aligned; }
bool aligned_new_array_is_ours() noexcept {
  return aligned_new_is_ours() && static_cast<AlignedNew>(&::operator new[]) == &arenascan_own_new_array_aligned;
}
bool delete_is_ours() noexcept { return static_cast<Delete>(&::operator delete) == &arenascan_own_delete; }
bool delete_array_is_ours() noexcept {
  return delete_is_ours() && static_cast<Delete>(&::operator delete[]) == &arenascan_own_delete_array;
}
bool aligned_delete_is_ours() noexcept {
  return static_cast<AlignedDelete>(&::operator delete) == &arenascan_own_delete_aligned;
}
bool aligned_delete_array_is_ours() noexcept {
  return aligned_delete_is_ours() &&
         static_cast<AlignedDelete>(&::operator delete[]) == &arenascan_own_delete_array_aligned;
}

// Tries until there is memory, or the new handler throws, or there is no handler.
[[gnu::noinline]] void* allocate_or_throw(size_t bytes, align_val_t alignment, Origin origin) {
  for (;;) {
    void* const object = arenascan::api::allocate_aligned(bytes, static_cast<size_t>(alignment), origin);
    if (object != nullptr) [[likely]]
      return object;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) {
      arenascan::api::tell_no_memory(bytes);
      throw std::bad_alloc();
    }
    handler();
  }
}

[[gnu::always_inline]] inline void* allocate_or_throw(size_t bytes, Origin origin) {
  if (void* const object = arenascan::api::allocate_shortly(bytes, origin)) [[likely]]
    return object;
  return allocate_or_throw(bytes, align_val_t{arenascan::alloc::kGranuleBytes}, origin);
}

template <typename Allocate>
void* or_null(const Allocate& allocate) noexcept {
  try {
    return allocate();
  } catch (...) {
    return nullptr;
  }
}

[[gnu::always_inline]] inline void release(void* object) noexcept {
  if (object != nullptr) arenascan::api::release(object, arenascan::alloc::state::kByNew);
}
[[gnu::always_inline]] inline void release_array(void* object) noexcept {
  if (object != nullptr) arenascan::api::release(object, arenascan::alloc::state::kByNewArray);
}

}  // namespace

std::uint8_t arenascan::api::family_of_new(const void* entry) noexcept {
  const auto is = [entry](auto* own) { return entry == reinterpret_cast<const void*>(own); };
  if (is(&arenascan_own_new) || is(&arenascan_own_new_aligned)) return alloc::state::kByNew;
  if (is(&arenascan_own_new_array) || is(&arenascan_own_new_array_aligned)) return alloc::state::kByNewArray;
  return 0;
}

ARENA_NEW operator new(size_t bytes) { return allocate_or_throw(bytes, ARENA_ORIGIN(&arenascan_own_new)); }

ARENA_NEW operator new[](size_t bytes) {
  return new_is_ours() ? allocate_or_throw(bytes, ARENA_ORIGIN(&arenascan_own_new_array)) : ::operator new(bytes);
}

ARENA_NEW operator new(size_t bytes, align_val_t alignment) {
  return allocate_or_throw(bytes, alignment, ARENA_ORIGIN(&arenascan_own_new_aligned));
}

ARENA_NEW operator new[](size_t bytes, align_val_t alignment) {
  return aligned_new_is_ours() ? allocate_or_throw(bytes, alignment, ARENA_ORIGIN(&arenascan_own_new_array_aligned))
                               : ::operator new(bytes, alignment);
}

ARENA_NEW operator new(size_t bytes, const nothrow_t&) noexcept {
  const Origin origin = ARENA_ORIGIN(&arenascan_own_new);
  return or_null([&] { return new_is_ours() ? allocate_or_throw(bytes, origin) : ::operator new(bytes); });
}

ARENA_NEW operator new[](size_t bytes, const nothrow_t&) noexcept {
  const Origin origin = ARENA_ORIGIN(&arenascan_own_new_array);
  return or_null([&] { return new_array_is_ours() ? allocate_or_throw(bytes, origin) : ::operator new[](bytes); });
}

ARENA_NEW operator new(size_t bytes, align_val_t alignment, const nothrow_t&) noexcept {
  const Origin origin = ARENA_ORIGIN(&arenascan_own_new_aligned);
  return or_null([&] {
    return aligned_new_is_ours() ? allocate_or_throw(bytes, alignment, origin) : ::operator new(bytes, alignment);
  });
}

ARENA_NEW operator new[](size_t bytes, align_val_t alignment, const nothrow_t&) noexcept {
  const Origin origin = ARENA_ORIGIN(&arenascan_own_new_array_aligned);
  return or_null([&] {
    return aligned_new_array_is_ours() ? allocate_or_throw(bytes, alignment, origin)
                                       : ::operator new[](bytes, alignment);
  });
}

ARENA_DELETE operator delete(void* object) noexcept { release(object); }

ARENA_DELETE operator delete[](void* object) noexcept {
  delete_is_ours() ? release_array(object) : ::operator delete(object);
}

ARENA_DELETE operator delete(void* object, align_val_t) noexcept { release(object); }

ARENA_DELETE operator delete[](void* object, align_val_t alignment) noexcept {
  aligned_delete_is_ours() ? release_array(object) : ::operator delete(object, alignment);
}

ARENA_DELETE operator delete(void* object, size_t) noexcept {
  delete_is_ours() ? release(object) : ::operator delete(object);
}

ARENA_DELETE operator delete[](void* object, size_t) noexcept {
  delete_array_is_ours() ? release_array(object) : ::operator delete[](object);
}

ARENA_DELETE operator delete(void* object, size_t, align_val_t alignment) noexcept {
  aligned_delete_is_ours() ? release(object) : ::operator delete(object, alignment);
}

ARENA_DELETE operator delete[](void* object, size_t, align_val_t alignment) noexcept {
  aligned_delete_array_is_ours() ? release_array(object) : ::operator delete[](object, alignment);
}

ARENA_DELETE operator delete(void* object, const nothrow_t&) noexcept {
  delete_is_ours() ? release(object) : ::operator delete(object);
}

ARENA_DELETE operator delete[](void* object, const nothrow_t&) noexcept {
  delete_array_is_ours() ? release_array(object) : ::operator delete[](object);
}

ARENA_DELETE operator delete(void* object, align_val_t alignment, const nothrow_t&) noexcept {
  aligned_delete_is_ours() ? release(object) : ::operator delete(object, alignment);
}

ARENA_DELETE operator delete[](void* object, align_val_t alignment, const nothrow_t&) noexcept {
  aligned_delete_array_is_ours() ? release_array(object) : ::operator delete[](object, alignment);
}
