// One thread's share of a heap: the pages it allocates from, class by class, without locks.
//
//     current[class] --> the page that takes the next allocation
//     partial[class] --> pages of the class with free slots, newest first
//     (full pages)       are in no list; the first free into one lists it again
//     pending        <-- pages that other threads have freed into, pushed by them
//
// A cache belongs to one thread at a time. When a thread ends, its cache becomes *idle* with all its pages: a new
// thread takes it over whole, and a thread that needs a page of some class may take single pages out of it under the
// heap's lock. Caches are never destroyed while their heap lives, so a stale owner pointer is always safe to push to; a
// page that reaches the wrong cache's pending list is passed on to its owner.
//
// Threads: everything but push_pending() is for the owning thread (or the heap's lock holder while idle). pending_ is a
// stack pushed by anyone with a release CAS and emptied by the owner with one acquire exchange, so no ABA can arise.
//
// Called by: heap.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/layout.h"
#include "alloc/page.h"

namespace arenascan::alloc {

class ThreadCache {
 public:
  ThreadCache() noexcept;
  ThreadCache(const ThreadCache&) = delete;
  ThreadCache& operator=(const ThreadCache&) = delete;

  // A slot of `size_class` from the current page; null means: refill.
  void* take(unsigned size_class, std::size_t requested_bytes, Birth birth, std::uint8_t flags) noexcept {
    return page_take(*current_[size_class], requested_bytes, birth, flags);
  }

  // Makes a page with free slots current, from what this cache has. False: it has none, adopt() one and go on.
  bool refill(unsigned size_class) noexcept;

  // Makes `page`, which has free slots and is this cache's by now, the current one of its class.
  void adopt(Page& page) noexcept;

  // After page_free_local() asked for attention. Returns the page when it is empty and should go back to the heap.
  [[nodiscard]] Page* page_changed(Page& page) noexcept;

  // Hands a page with remotely freed slots to this cache. Any thread.
  void push_pending(Page& page) noexcept;

  // Takes back what other threads freed. Pages that become empty by it stay listed.
  void drain_pending() noexcept;

  // Takes a page of `size_class` with free slots out of this idle cache, or null. The heap's lock is held.
  Page* surrender_page_locked(unsigned size_class) noexcept;

  // Takes an empty page, a current one too, out of this cache; null when there is none.
  Page* surrender_empty_page() noexcept;

  ThreadCache* next_idle = nullptr;  // heap's lock

 private:
  void list(Page& page) noexcept;
  void unlist(Page& page) noexcept;
  void note_full(Page& page) noexcept { page.event = page.capacity - 1; }
  [[nodiscard]] bool is_current(const Page& page) const noexcept { return current_[page.size_class] == &page; }

  Page* current_[kClassCount];
  Page* partial_[kClassCount] = {};
  std::atomic<Page*> pending_{nullptr};
};

}  // namespace arenascan::alloc
