// The long way of allocating and freeing.
#include "api/allocate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include "alloc/options.h"
#include "api/guard.h"
#include "api/hooks.h"
#include "api/long_use.h"

namespace arenascan::api {

using alloc::StackId;
using Allocation = alloc::Heap::Allocation;

namespace {

// For threads whose cache has gone back or is in use (a signal handler interrupted them).
constinit alloc::Lock g_shared_lock;
alloc::ThreadCache* g_shared_cache = nullptr;  // g_shared_lock

// Frames of a stack, the entry point's among them.
std::size_t kept_depth() noexcept { return std::max(alloc::options().stack_depth, 1U); }

StackId walk(alloc::StackCache* cache, Origin origin) noexcept {
  ThreadState& thread = t_thread;
  if (thread.capturing) return alloc::kNoStack;
  thread.capturing = true;
  const alloc::Options& options = alloc::options();
  alloc::StackTables& tables = g_process.value.tables;
  const auto by = options.stacks == alloc::StackMode::kFull ? alloc::UnwindBy::kRules : alloc::UnwindBy::kFramePointers;
  std::array<std::uintptr_t, alloc::kMaxFrames> frames;
  alloc::Trail trail;
  frames[0] = origin.entry_frame();
  const std::size_t count = 1 + alloc::unwind(origin.caller(), frames.data() + 1, kept_depth() - 1, trail, by);
  const StackId stack = tables.stacks.intern({frames.data(), count});
  if (cache != nullptr && count > 1) cache->remember(tables, origin, stack, trail);
  thread.capturing = false;
  return stack;
}

// Bytes to the next sample: evenly distributed around the mean, so that no pattern of sizes escapes.
std::uint64_t sample_distance(ThreadState& thread) noexcept {
  if (thread.random == 0) thread.random = reinterpret_cast<std::uintptr_t>(&thread) | 1;
  thread.random ^= thread.random << 13;
  thread.random ^= thread.random >> 7;
  thread.random ^= thread.random << 17;
  return 1 + thread.random % (2 * std::uint64_t{alloc::options().stack_sample_bytes});
}

// Walks once more, the slow way, in one of stack_recheck cases, and counts what differs. Frames that libunwind does not
// find, because the code has no tables, are not held against a stack.
void recheck(StackId stack, const Origin& origin) noexcept {
  Process& process = g_process.value;
  const std::uint64_t count = process.stack_counts.checked.load(std::memory_order_relaxed) +
                              process.stack_counts.hits.load(std::memory_order_relaxed);
  if (count % alloc::options().stack_recheck != 0 || stack == alloc::kNoStack) return;
  std::array<std::uintptr_t, alloc::kMaxFrames> frames;
  const auto kept = process.tables.stacks.frames(stack).subspan(1);
  const std::size_t limit = std::min(frames.size(), kept_depth() - 1);
  const std::size_t found = alloc::unwind_slow_from(origin.caller().pc, frames.data(), limit);
  process.stack_counts.checked.fetch_add(1, std::memory_order_relaxed);
  if (found > kept.size() || !std::equal(frames.begin(), frames.begin() + found, kept.begin())) {
    process.stack_counts.wrong.fetch_add(1, std::memory_order_relaxed);
  }
}

StackId capture_and_recheck(alloc::StackCache* cache, const Origin& origin) noexcept {
  Process& process = g_process.value;
  StackId stack = cache != nullptr ? cache->find(origin) : alloc::kNoStack;
  const bool is_hit = stack != alloc::kNoStack;
  (is_hit ? process.stack_counts.hits : process.stack_counts.walks).fetch_add(1, std::memory_order_relaxed);
  if (!is_hit) stack = walk(cache, origin);
  recheck(stack, origin);
  return stack;
}

// The stack of an allocation. `cache` is the thread's, or null.
StackId capture(alloc::StackCache* cache, std::size_t bytes, Origin origin) noexcept {
  switch (g_process.value.stacks_of) {
    case StacksOf::kNone: return alloc::kNoStack;
    case StacksOf::kSample:
      if (t_thread.until_sample > bytes) {
        t_thread.until_sample -= bytes;
        return alloc::kNoStack;
      }
      t_thread.until_sample = sample_distance(t_thread);
      break;
    case StacksOf::kAllRechecked: return capture_and_recheck(cache, origin);
    case StacksOf::kAll: break;
  }
  if (cache == nullptr) return walk(nullptr, origin);
  const StackId known = cache->find(origin);
  return known != alloc::kNoStack ? known : walk(cache, origin);
}

// State bits of an allocation.
std::uint8_t flags_of(const ThreadState& thread, const Origin& origin) noexcept {
  const std::uint8_t family = g_process.value.is_guarded ? guard::family_of(origin.entry) : std::uint8_t{0};
  return thread.disabled != 0 ? family | alloc::state::kNotLeak : family;
}

// Without the thread's own cache. A handler that interrupted its thread inside a lock gets no memory.
Allocation allocate_from_shared(std::size_t bytes, std::size_t alignment, Origin origin) noexcept {
  alloc::Heap& heap = g_process.value.heap;
  if (alloc::Lock::is_in_lock()) return {};
  const alloc::Birth birth = heap.birth(capture(nullptr, bytes, origin));
  const std::scoped_lock guard(g_shared_lock);
  if (g_shared_cache == nullptr) g_shared_cache = heap.acquire_cache();
  if (g_shared_cache == nullptr) return {};
  return heap.allocate_slow(*g_shared_cache, bytes, alignment, birth, flags_of(t_thread, origin));
}

Allocation allocate_untold(std::size_t bytes, std::size_t alignment, Origin origin) noexcept {
  const LongUse use;
  if (!use) return allocate_from_shared(bytes, alignment, origin);
  alloc::Heap& heap = g_process.value.heap;
  const alloc::Birth birth = heap.birth(capture(&use->stacks, bytes, origin));
  return heap.allocate_slow(*use, bytes, alignment, birth, flags_of(t_thread, origin));
}

Allocation allocate_any(std::size_t bytes, std::size_t alignment, Origin origin) noexcept {
  if (bytes > process().max_allocation_bytes) [[unlikely]]
    return {};
  const Allocation got = allocate_untold(bytes, alignment, origin);
  if (got.object != nullptr) tell_allocated(got.object, bytes);
  return got;
}

}  // namespace

void* take_between_samples(alloc::ThreadCache& cache, std::size_t bytes, unsigned size_class) noexcept {
  ThreadState& thread = t_thread;
  if (thread.until_sample <= bytes) return nullptr;
  void* const object = cache.take(size_class, bytes, g_process.value.heap.birth(alloc::kNoStack));
  if (object != nullptr) thread.until_sample -= bytes;  // else the long way counts them
  return object;
}

void tell_no_memory(std::size_t bytes) noexcept {
  if (const auto told = process().on_no_memory) told(bytes);
}

void lock_shared_cache() noexcept { g_shared_lock.lock(); }
void unlock_shared_cache() noexcept { g_shared_lock.unlock(); }

void* long_way::allocate(std::size_t bytes, Origin origin) noexcept {
  return allocate_any(bytes, alloc::kGranuleBytes, origin).object;
}

void long_way::release(void* object, std::uint8_t family) noexcept {
  tell_freed(object);
  const LongUse use;
  alloc::Heap& heap = g_process.value.heap;
  alloc::ThreadCache* const cache = use ? &*use : nullptr;
  if (g_process.value.is_guarded) {
    guard::release(cache, object, family);
  } else if (cache != nullptr) {
    heap.release(*cache, object);
  } else {
    heap.release(object);
  }
}

void* allocate_aligned(std::size_t bytes, std::size_t alignment, Origin origin) noexcept {
  if (alignment <= alloc::kGranuleBytes) return allocate(bytes, origin);
  const unsigned size_class = alloc::class_of_aligned(bytes, alignment);
  if (size_class != alloc::kLargeClass && alloc::slot_bytes(size_class) - bytes <= UINT16_MAX) {
    const CacheInUse cache;
    if (cache) {
      if (void* const object = take_of_class(*cache, bytes, size_class, origin)) return object;
    }
  }
  return allocate_any(bytes, alignment, origin).object;
}

void* allocate_zeroed(std::size_t bytes, Origin origin) noexcept {
  if (bytes <= alloc::kMaxSlotBytes) {
    void* const object = allocate(bytes, origin);
    return object == nullptr ? nullptr : std::memset(object, 0, bytes);
  }
  const Allocation got = allocate_any(bytes, alloc::kGranuleBytes, origin);
  if (got.object != nullptr && !got.zeroed) std::memset(got.object, 0, bytes);
  return got.object;
}

void* reallocate(void* object, std::size_t bytes, Origin origin) noexcept {
  alloc::Heap& heap = process().heap;
  if (g_process.value.is_guarded && alloc::options().check_mismatch) heap.check_family(object, 0);
  StackId stack = alloc::kNoStack;
  {
    const LongUse use;
    stack = capture(use ? &use->stacks : nullptr, bytes, origin);
  }
  if (heap.resize_in_place(object, bytes, stack)) {
    tell_freed(object);
    tell_allocated(object, bytes);
    return object;
  }
  const std::size_t old_bytes = heap.requested_bytes(object);
  void* const moved = allocate(bytes, origin);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, object, old_bytes < bytes ? old_bytes : bytes);
  release(object);
  return moved;
}

}  // namespace arenascan::api
