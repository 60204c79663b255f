// What can be done with one page: set it up, take a slot, free a slot, drain the slots that other threads freed.
//
// A free slot is a set bit. Slots are taken a word of bits at a time, in address order, by a cursor (thread_cache.h)
// that hands them out one by one. Nothing is written to the slot itself.
//
// Legal sequence: set_up, then grab / put_back / free_local by the owner and free_remote by anybody, drain_remote by
// the owner, until used is 0; then the page may be given back.
//
// Threads: as told at each function. An object's life is the sequence of its state byte:
//
//     kFree --publish--> kAllocated --free_local--> kFree
//                          |
//                          +--free_remote--> kRemotelyFreed --drain_remote--> kFree
//
// A second free of an object meets a state that is not kAllocated, also when two threads free it at the same time: two
// remote frees meet in the remote bit, a remote and a local one meet in the drain.
//
// Called by: thread_cache, heap.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "alloc/layout.h"

namespace arenascan::alloc {

// Bytes of the metadata block of a span of this class (kLargeClass for a large object).
std::size_t page_metadata_bytes(unsigned size_class) noexcept;

// Makes `page`, the head of a metadata block of that class, describe the span at `base`. The owner is set by the
// caller. Every slot is free, except for a large object's only one, which the caller fills.
void page_set_up(Page& page, unsigned size_class, std::uintptr_t base, std::uint32_t page_count) noexcept;

// Some free slots of one page, taken out of its free bits: those of one word.
struct GrabbedSlots {
  std::uint64_t bits = 0;   // none: the page has no free slot
  std::uint32_t first = 0;  // slot that bit 0 stands for
};

// Takes the free slots of the next word that has any. Owner only.
GrabbedSlots page_grab(Page& page) noexcept;

// Takes back what was grabbed and not used. Owner only.
void page_put_back(Page& page, const GrabbedSlots& slots) noexcept;

// Takes over the slots that other threads have freed, for a page that was popped from the pending list. False when
// another free is under way: the page has to go back to the list. Owner only. Dies when a slot was freed twice.
[[nodiscard]] bool page_drain_remote(Page& page) noexcept;

// Frees an object from a thread that does not own the page. True when the page has to be pushed to its owner's pending
// list by the caller. Dies when the object was free already.
[[nodiscard]] bool page_free_remote(Page& page, std::uint32_t index) noexcept;

// Checks invariants 1 and 2 of layout.h, `grabbed` being what is grabbed of the page. Owner only, between operations.
[[nodiscard]] bool page_is_valid(const Page& page, const GrabbedSlots& grabbed) noexcept;

// Makes slot `index`, which is grabbed, an object.
inline void page_publish(Page& page, std::uint32_t index, const Record& record, std::uint8_t flags) noexcept {
  page.records[index].store(record.pack(), std::memory_order_relaxed);
  page.states()[index].store(state::kAllocated | flags, std::memory_order_release);
}

// Frees an object of the calling thread's own page whose state was seen to be allocated. When `used` has come to
// `event`, the page needs attention: it became empty, or it was full. Owner only.
inline void page_free_local(Page& page, std::uint32_t index) noexcept {
  page.states()[index].store(state::kFree, std::memory_order_relaxed);
  page.local->free_bits()[index / 64] |= std::uint64_t{1} << (index % 64);
  --page.local->used;
}

}  // namespace arenascan::alloc
