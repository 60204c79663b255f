// One thread's share of a heap: the pages it allocates from, class by class, without locks.
//
//     cursor[class]  --> free slots set aside for the next allocations: one word of bits of the current page
//     partial[class] --> pages of the class with free slots, oldest first
//     (full pages)       are in no list; the first free into one lists it again, as the youngest
//     pending        <-- pages that other threads have freed into, pushed by them
//
// Taking the oldest page first gives frees time to gather: a page that has just come out of being full holds one free
// slot, and moving to it costs more than the allocation (mimalloc queues its pages the same way).
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

#include "alloc/atomic.h"
#include "alloc/layout.h"
#include "alloc/page.h"
#include "alloc/stack_cache.h"

namespace arenascan::alloc {

class ThreadCache {
 public:
  ThreadCache() = default;
  ThreadCache(const ThreadCache&) = delete;
  ThreadCache& operator=(const ThreadCache&) = delete;

  // A new object of `requested_bytes` in a slot of `size_class`; null means that this cache has no free slot of the
  // class: adopt() a page and go on.
  //
  // The address is made opaque before the state becomes kAllocated, so the compiler has to have it in a register or on
  // the stack from then on: a thread that is stopped anywhere in here either has no object yet or holds a root to it.
  void* take(unsigned size_class, std::size_t requested_bytes, Birth birth) noexcept {
    Cursor& cursor = cursors_[size_class];
    if (cursor.bits == 0 && !refill(size_class)) [[unlikely]]
      return nullptr;
    const auto i = static_cast<unsigned>(std::countr_zero(cursor.bits));
    cursor.bits &= cursor.bits - 1;
    std::uintptr_t address = cursor.base + i * cursor.slot_bytes;
    asm volatile("" : "+r"(address));
    if (address == 0) __builtin_unreachable();
    cursor.records[i].store(Record::pack(birth, cursor.slot_bytes - requested_bytes), std::memory_order_relaxed);
    cursor.states[i].store(state::kAllocated, std::memory_order_release);
    return reinterpret_cast<void*>(address);
  }

  // Makes `page`, which has free slots and is this cache's by now, the current one of its class, whose cursor is empty.
  void adopt(Page& page) noexcept;

  // After page_free_local() when the page needs attention. Returns the page when it is empty and should go back to the
  // heap.
  [[nodiscard]] Page* page_changed(Page& page) noexcept;

  // Hands a page with remotely freed slots to this cache. Any thread.
  void push_pending(Page& page) noexcept;

  // Takes back what other threads freed. Pages that become empty by it stay listed.
  void drain_pending() noexcept;

  // Puts back all slots that are set aside: no page is current then. Before the cache becomes idle.
  void put_back_all() noexcept;

  // Takes a page of `size_class` with free slots out of this idle cache, or null. The heap's lock is held.
  Page* surrender_page_locked(unsigned size_class) noexcept;

  // Takes an empty page that is not current out of this cache; null when there is none.
  Page* surrender_empty_page() noexcept;

  // How many fresh pages of the class this cache has been given, this one included.
  unsigned count_fetch(unsigned size_class) noexcept { return ++fetches_[size_class]; }

  // Whether a page that this cache owns is where it belongs: current, in its list, or too full for that. For audits.
  [[nodiscard]] bool is_valid(const Page& page) const noexcept;

  // What is set aside of a page that this cache owns.
  [[nodiscard]] GrabbedSlots grabbed(const Page& page) const noexcept;

  // The thread's call stacks, here so that one pointer leads to all that an allocation needs. Left as the memory is,
  // which the heap hands over zeroed, so that a thread which never asks for stacks does not touch it.
  StackCache stacks;

 private:
  // One cache line holds all that an allocation reads but the request.
  struct alignas(64) Cursor {
    std::uint64_t bits = 0;  // slots set aside: bit i is the slot at base + i * slot_bytes
    std::uintptr_t base = 0;
    std::size_t slot_bytes = 0;
    Atomic<std::uint64_t>* records = nullptr;
    Atomic<std::uint8_t>* states = nullptr;
    Page* page = nullptr;     // the current page; null: none
    std::uint32_t first = 0;  // slot that bit 0 stands for
  };

  struct PageList {
    Page* oldest = nullptr;
    Page* youngest = nullptr;
  };

  // Sets free slots of `size_class` aside, from what this cache has. False: it has none.
  [[gnu::noinline]] bool refill(unsigned size_class) noexcept;
  static bool advance(Cursor& cursor) noexcept;
  void list(Page& page) noexcept;
  void unlist(Page& page) noexcept;

  Cursor cursors_[kClassCount];
  PageList partial_[kClassCount];
  Atomic<Page*> pending_{nullptr};
  unsigned fetches_[kClassCount] = {};

 public:
  ThreadCache* next_idle = nullptr;  // heap's lock
};

}  // namespace arenascan::alloc
