// Allocating and freeing for the program: the short way, in line, and the door to the long one.
//
//     short way   the thread's cache is ready, the size is in the table of classes, the stack is one that the cache
//                 knows, and the cache has a slot: in line, nearly always without a call
//     long way    anything else: the first allocation of a thread, new pages, new stacks, large sizes and alignments,
//                 options that ask for more (allocate.cpp)
//
// While a call uses the cache it takes ThreadState::ready away: a signal handler that interrupts it and allocates finds
// the cache in use and takes the long way, which then leaves the cache alone.
//
// Threads: any. Errno is not touched; null means that there is no memory. Alignments are powers of two.
//
// Called by: malloc, new_delete, threads.
#pragma once

#include <atomic>
#include <cstddef>

#include "alloc/stack_cache.h"
#include "alloc/unwind.h"
#include "api/process.h"

namespace arenascan::api {

using alloc::Origin;

namespace long_way {

void* allocate(std::size_t bytes, Origin origin) noexcept;
void release(void* object, std::uint8_t family) noexcept;

}  // namespace long_way

void* allocate_aligned(std::size_t bytes, std::size_t alignment, Origin origin) noexcept;
void* allocate_zeroed(std::size_t bytes, Origin origin) noexcept;

// As realloc for a live object and a size above 0; null leaves the object as it was.
void* reallocate(void* object, std::size_t bytes, Origin origin) noexcept;

// To be called before an allocation of `bytes` fails.
[[gnu::cold, gnu::noinline]] void tell_no_memory(std::size_t bytes) noexcept;

// Around a fork: no thread is allocating from the cache that threads without one share.
void lock_shared_cache() noexcept;
void unlock_shared_cache() noexcept;

// A thread's cache, taken into use for the length of one operation.
class CacheInUse {
 public:
  CacheInUse() noexcept : cache_(t_thread.ready) {
    t_thread.ready = nullptr;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~CacheInUse() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    t_thread.ready = cache_;
  }
  CacheInUse(const CacheInUse&) = delete;
  CacheInUse& operator=(const CacheInUse&) = delete;

  explicit operator bool() const noexcept { return cache_ != nullptr; }
  alloc::ThreadCache* operator->() const noexcept { return cache_; }
  alloc::ThreadCache& operator*() const noexcept { return *cache_; }

 private:
  alloc::ThreadCache* cache_;
};

// What take_of_class() gives between two samples (StacksOf::kSample).
void* take_between_samples(alloc::ThreadCache& cache, std::size_t bytes, unsigned size_class) noexcept;

// An object of a size class that is known; null when only the long way leads to it.
[[gnu::always_inline]] inline void* take_of_class(alloc::ThreadCache& cache, std::size_t bytes, unsigned size_class,
                                                  const Origin& origin) noexcept {
  const Process& process = g_process.value;
  alloc::StackId stack = alloc::kNoStack;
  const ShortWay way = process.short_way.load(std::memory_order_relaxed);
  if (way == ShortWay::kAllStacks) [[likely]] {
    stack = cache.stacks.find(origin);
    if (stack == alloc::kNoStack) [[unlikely]]
      return nullptr;
  } else if (way != ShortWay::kNoStacks) {
    return way == ShortWay::kSample ? take_between_samples(cache, bytes, size_class) : nullptr;
  }
  return cache.take(size_class, bytes, process.heap.birth(stack));
}

// Memory for the program, aligned to 16, by the short way; null when that is not open.
[[gnu::always_inline]] inline void* allocate_shortly(std::size_t bytes, const Origin& origin) noexcept {
  const CacheInUse cache;
  if (!cache || bytes > alloc::kTableBytes) [[unlikely]]
    return nullptr;
  return take_of_class(*cache, bytes, alloc::class_of_small(bytes), origin);
}

// The same in any way that leads to it.
inline void* allocate(std::size_t bytes, const Origin& origin) noexcept {
  void* const object = allocate_shortly(bytes, origin);
  return object != nullptr ? object : long_way::allocate(bytes, origin);
}

// Frees a live object of the process's heap; anything else dies with a report. `family` are the family bits
// (alloc/layout.h) of what the caller frees.
[[gnu::always_inline]] inline void release(void* object, std::uint8_t family = 0) noexcept {
  {
    const CacheInUse cache;
    if (cache && g_process.value.heap.release_quickly(*cache, object)) [[likely]]
      return;
  }
  long_way::release(object, family);
}

}  // namespace arenascan::api
