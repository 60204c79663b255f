#include "alloc/meta_alloc.h"

#include <mimalloc.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

// Address space for the tool: enough for the queues and tables of a scan of tens of millions of objects.
constexpr std::size_t kLargestArenaBytes = std::size_t{16} << 30;
constexpr std::size_t kSegmentBytes = std::size_t{32} << 20;  // mimalloc's unit, and its alignment
constexpr int kAnyNode = -1;

constinit std::mutex g_mutex;
mi_arena_id_t g_arena = 0;  // g_mutex; constant once g_begin is set

// Writer: the thread that makes the arena, under g_mutex, g_end before g_begin. Readers: everybody; acquire of g_begin
// pairs with its release, so that whoever sees it sees g_arena and g_end.
constinit std::atomic<std::uintptr_t> g_begin{0};
constinit std::atomic<std::uintptr_t> g_end{0};

[[gnu::tls_model("initial-exec")]] constinit thread_local mi_heap_t* t_heap = nullptr;
[[gnu::tls_model("initial-exec")]] constinit thread_local bool t_ended = false;

bool make_arena() noexcept {
  const std::scoped_lock guard(g_mutex);
  if (g_begin.load(std::memory_order_relaxed) != 0) return true;
  mi_option_disable(mi_option_show_errors);
  mi_option_disable(mi_option_verbose);
  // mimalloc 2.0.9 takes for granted that memory of its arena can be made accessible, and touches it. So all of it is,
  // beforehand; where that counts against a limit, the tool takes a small part of it.
  const std::size_t limit = os_commit_limit_bytes();
  std::size_t bytes = kLargestArenaBytes;
  if (limit != 0) bytes = std::clamp(limit / 16 / kSegmentBytes * kSegmentBytes, kSegmentBytes, kLargestArenaBytes);
  for (; bytes >= kSegmentBytes; bytes = bytes / 2 / kSegmentBytes * kSegmentBytes) {
    void* const memory = os_reserve(bytes, kSegmentBytes);
    if (memory == nullptr) continue;
    if (!os_commit(memory, bytes) ||
        !mi_manage_os_memory_ex(memory, bytes, true, false, true, kAnyNode, true, &g_arena)) {
      os_release(memory, bytes);
      continue;
    }
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    g_end.store(begin + bytes, std::memory_order_relaxed);
    g_begin.store(begin, std::memory_order_release);
    return true;
  }
  return false;
}

bool has_arena() noexcept { return g_begin.load(std::memory_order_acquire) != 0 || make_arena(); }

// Null: no memory. A thread of which mimalloc 2.0.9 could not take notice has an empty default heap, which is no
// default to set, and from which a heap in an arena cannot be made: it would crash.
mi_heap_t* make_heap() noexcept {
  const bool knows_thread = has_arena() && mi_heap_set_default(mi_heap_get_default()) != nullptr;
  return knows_thread ? mi_heap_new_in_arena(g_arena) : nullptr;
}

// Deleting a heap leaves its blocks valid.
void* allocate_once(std::size_t bytes) noexcept {
  mi_heap_t* const heap = make_heap();
  if (heap == nullptr) return nullptr;
  void* const block = mi_heap_malloc(heap, bytes);
  mi_heap_delete(heap);
  return block;
}

}  // namespace

bool meta_prepare() noexcept {
  if (t_heap != nullptr || t_ended) return has_arena();
  t_heap = make_heap();
  return t_heap != nullptr;
}

void* meta_allocate(std::size_t bytes) noexcept {
  if (t_ended) return allocate_once(bytes);
  return meta_prepare() ? mi_heap_malloc(t_heap, bytes) : nullptr;
}

void meta_end_thread() noexcept {
  t_heap = nullptr;
  t_ended = true;
}

void meta_free(void* block) noexcept { mi_free(block); }

MetaRange meta_range() noexcept {
  const std::uintptr_t begin = g_begin.load(std::memory_order_acquire);
  return begin == 0 ? MetaRange{} : MetaRange{begin, g_end.load(std::memory_order_relaxed)};
}

}  // namespace arenascan::alloc
