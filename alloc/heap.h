// A heap: allocate, release, resize. The door for api/.
//
// A Heap is an instance. The process's own, behind malloc, is one of them; tests, fuzzers and users make private ones.
// It owns one reserved range (layout.h) and hands every thread that allocates a ThreadCache.
//
//   allocate:  size -> class -> the cache's cursor -> lowest bit set aside -> publish record and state
//   release:   address -> page map -> index -> state check -> own page: set the free bit; another's: set its remote bit
//
// Lock order (the only lock of alloc/): mutex_ guards page runs, metadata blocks, the page map's entries, the list of
// idle caches and what idle caches hold. It is held for the length of one page operation, never while user code, a
// stack walk or an output call runs. The scanner takes it before it stops the world, the fork handlers around a fork.
//
// Failure: out of memory and impossible sizes give null; misuse dies in misuse.h. Errno is not touched.
//
// Called by: api/ (malloc, operator new, private heaps), tests. scan/ uses heap_view.h instead.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "alloc/atomic.h"
#include "alloc/layout.h"
#include "alloc/lock.h"
#include "alloc/misuse.h"
#include "alloc/page.h"
#include "alloc/page_map.h"
#include "alloc/run_alloc.h"
#include "alloc/thread_cache.h"

namespace arenascan::alloc {

class Heap {
 public:
  constexpr Heap() = default;
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Reserves the address space: `reserve_bytes` of user memory, halved until the system grants it. False when nothing
  // could be had; every allocation fails then. Once, before any other call.
  bool init(std::size_t reserve_bytes, const RunAllocator::Settings& settings = {}) noexcept;

  // Gives everything back. No object, cache or Page of this heap may be used any more.
  void destroy() noexcept;

  // A cache for the calling thread: an idle one with its pages, or a new one. Null when there is no memory.
  ThreadCache* acquire_cache() noexcept;

  // The calling thread is done with its cache.
  void release_cache(ThreadCache& cache) noexcept;

  // `bytes` of memory aligned to 16, or null.
  void* allocate(ThreadCache& cache, std::size_t bytes, Birth birth) noexcept {
    if (bytes <= kMaxSlotBytes) [[likely]] {
      if (void* object = cache.take(class_of(bytes), bytes, birth)) [[likely]]
        return object;
    }
    return allocate_slow(cache, bytes, kGranuleBytes, birth, 0).object;
  }

  struct Allocation {
    void* object = nullptr;
    bool zeroed = false;  // the memory is known to read as zero
  };

  // The same with any alignment that is a power of two, policy bits of layout.h, and the knowledge whether the memory
  // is fresh.
  Allocation allocate_slow(ThreadCache& cache, std::size_t bytes, std::size_t alignment, Birth birth,
                           std::uint8_t flags) noexcept;

  // Frees what allocate returned. Dies with a report on any other address.
  void release(ThreadCache& cache, void* object) noexcept;

  // The usual case of it, an object of the thread's own page that is neither full nor about to become empty. False, and
  // nothing done, where it is not that.
  [[nodiscard, gnu::always_inline]] inline bool release_quickly(ThreadCache& cache, void* object) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(object);
    Page* const page = map_.find_quickly(address);
    if (page == nullptr || page->owner.load(std::memory_order_relaxed) != &cache) [[unlikely]]
      return false;
    const std::uint32_t index = page->index_of(address);
    const std::uint8_t seen = page->states()[index].load(std::memory_order_relaxed);
    if (page->address_of(index) != address || !state::is_allocated(seen)) [[unlikely]]
      return false;
    if (page->local->used - 1 == page->local->event) [[unlikely]]
      return false;
    page_free_local(*page, index);
    return true;
  }

  // From now on release_quickly() does nothing, in any thread.
  void close_quick_release() noexcept {
    const std::scoped_lock guard(mutex_);
    map_.close_quick_way_locked();
  }

  // release() for a thread without a cache.
  void release(void* object) noexcept { release_foreign(locate_live(object)); }

  // The two halves of a free in quarantine. hold() makes a live object free for the program and the scanner, while its
  // memory stays as it is; dies as release() does. Later release_held() gives the memory back.
  void hold(void* object) noexcept;
  void release_held(ThreadCache* cache, void* object) noexcept;

  // Dies with a report when the live object comes from another family (state::kFamilyMask) than `family`.
  void check_family(const void* object, std::uint8_t family) const noexcept;

  // Dies with a report about the held object that was written to.
  [[noreturn]] void report_write_to_held(const void* object, std::size_t offset) const noexcept;

  // The size asked for, of an object that is held.
  [[nodiscard]] std::size_t held_bytes(const void* object) const noexcept;

  // Makes a live object `bytes` long where it lies, when its slot or run allows and not too much would be wasted. The
  // object then counts as allocated by `stack`; its stamp stays.
  bool resize_in_place(void* object, std::size_t bytes, std::uint32_t stack) noexcept;

  // The size asked for, of a live object. Dies with a report on any other address.
  [[nodiscard]] std::size_t requested_bytes(const void* object) const noexcept;

  // Whether `address` lies in this heap's user memory.
  [[nodiscard]] bool contains(const void* address) const noexcept {
    return map_.contains(reinterpret_cast<std::uintptr_t>(address));
  }

  // The current stamp, whose low 16 bits births carry, and the next one: births from now on are told from earlier ones.
  // Written by scans and test scopes, read by every allocation. Relaxed: a thread that synchronised with the writer
  // sees the new value; another may still use the old one for an allocation that is concurrent anyway. One writer at a
  // time, the holder of the lock. Birth::kOld is left out.
  [[nodiscard]] std::uint32_t stamp() const noexcept { return stamp_.load(std::memory_order_relaxed); }
  std::uint32_t advance_stamp_locked() noexcept;

  // The birth of an object that is allocated now.
  [[nodiscard]] Birth birth(std::uint32_t stack) const noexcept { return {stack, static_cast<std::uint16_t>(stamp())}; }

  // How many policies have been set so far. Raised before one takes effect, with release by the policy's store, so that
  // a reader (acquire) which sees the policy sees the count too.
  [[nodiscard]] std::uint64_t annotations() const noexcept { return annotations_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t pages_dropped() const noexcept { return pages_dropped_.load(std::memory_order_relaxed); }
  void count_annotation() noexcept { annotations_.fetch_add(1, std::memory_order_relaxed); }

  // While descriptors are kept, those of pages that are given back stay as they are, marks and all, and new pages get
  // others: for a scanner that runs beside the program and may still be looking at them. The pages themselves are
  // reused.
  void keep_descriptors_locked(bool keep) noexcept;

  // Makes births of Birth::kOldestAge and more kOld, so that 16 bits keep telling old from new. Walks the heap once
  // in Birth::kAgingInterval stamps, else does nothing. Whoever advances the stamp calls it, before, with the lock
  // held.
  void age_births_locked() noexcept;

  // For fork handlers and the scanner.
  void lock() noexcept { mutex_.lock(); }
  bool try_lock() noexcept { return mutex_.try_lock(); }
  void unlock() noexcept { mutex_.unlock(); }

  // Walks everything and checks the invariants; true when they hold. No other thread may use the heap meanwhile.
  [[nodiscard]] bool is_valid() noexcept;

  // Bytes of user memory in pages that are handed out.
  [[nodiscard]] std::size_t taken_bytes() noexcept;

 private:
  friend class HeapView;

  struct Located {
    Page* page;
    std::uint32_t index;
  };

  // The live object that begins at `object`; dies when there is none.
  Located locate_live(const void* object) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(object);
    Page* const page = map_.find(address);
    if (page == nullptr) [[unlikely]]
      report_unmapped(address);
    const std::uint32_t index = page->index_of(address);
    const std::uint8_t seen = page->states()[index].load(std::memory_order_relaxed);
    if (page->address_of(index) != address || !state::is_allocated(seen)) [[unlikely]] {
      report_misuse(*page, index, address);
    }
    return {page, index};
  }

  Located locate(const void* object) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(object);
    Page* const page = map_.find(address);
    return {page, page->index_of(address)};
  }

  [[noreturn]] void report_unmapped(std::uintptr_t address) const noexcept;
  [[noreturn]] static void report_misuse(const Page& page, std::uint32_t index, std::uintptr_t address) noexcept;
  void release_foreign(Located at) noexcept;
  void set_flags(void* object, std::uint8_t flags) noexcept;
  void release_large(Page& page) noexcept;
  bool resize_large(Page& page, std::size_t bytes) noexcept;
  Allocation allocate_large(std::size_t bytes, std::size_t alignment, Birth birth, std::uint8_t flags) noexcept;

  // A page with free slots for `cache`: out of an idle cache, or new. Null when there is no memory.
  Page* fetch_page(ThreadCache& cache, unsigned size_class) noexcept;
  void release_page(Page& page) noexcept;

  // All pages that were ever handed out have numbers below. One that was taken, and given back since the map had no
  // memory to grow, may lie above.
  [[nodiscard]] std::size_t page_end_locked() const noexcept { return std::min(runs_.high_water(), map_.page_limit()); }

  template <typename Visit>
  void for_each_page_locked(Visit&& visit) const {
    for (std::size_t i = 0; i < page_end_locked();) {
      Page* const page = map_.entry(i).page();
      i += page == nullptr ? 1 : page->page_count;
      if (page != nullptr) visit(*page);
    }
  }

  Page* new_page_locked(unsigned size_class, std::size_t page_count, std::size_t alignment, bool& zeroed) noexcept;
  void drop_page_locked(Page& page) noexcept;
  void* take_metadata_locked(std::size_t bytes) noexcept;

  Lock mutex_;
  PageMap map_;
  RunAllocator runs_;
  Atomic<std::uint32_t> stamp_{1};
  Atomic<std::uint64_t> annotations_{0};

  // Raised under mutex_ before the addresses can be handed out again; read by the scanner. Relaxed: what a program does
  // with their new page comes after the release that publishes it.
  Atomic<std::uint64_t> pages_dropped_{0};
  std::uint32_t aged_at_ = 0;  // mutex_; stamp of the last walk of age_births_locked()

  void* reserved_ = nullptr;
  std::size_t reserved_bytes_ = 0;
  std::uintptr_t metadata_begin_ = 0;      // a multiple of a huge page's size
  std::uintptr_t metadata_next_ = 0;       // mutex_
  std::uintptr_t metadata_committed_ = 0;  // mutex_
  std::uintptr_t metadata_end_ = 0;
  Page* free_metadata_[kClassCount + 1] = {};  // mutex_; blocks of each class, for reuse
  Page* kept_metadata_ = nullptr;              // mutex_; blocks that wait for the end of keep_descriptors_locked
  bool keeps_descriptors_ = false;             // mutex_
  ThreadCache* idle_caches_ = nullptr;         // mutex_
};

}  // namespace arenascan::alloc
