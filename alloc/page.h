// What can be done with one page: set it up, take a slot, free a slot, drain the slots that other threads freed.
//
// A free slot is a set bit. Allocation takes the lowest bit of the current word and moves to the next word with a bit
// when it is used up, so slots come in address order and a slot freed nearby is taken again soon. Nothing is written to
// the slot itself.
//
// Legal sequence: set_up, then take / free_local by the owner and free_remote by anybody, drain_remote by the owner,
// until used is 0; then the page may be given back.
//
// Threads: as told at each function. An object's life is the sequence of its state byte:
//
//     kFree --take--> kAllocated --free_local--> kFree
//                         |
//                         +--free_remote--> kRemotelyFreed --drain_remote--> kFree
//
// A second free of an object meets a state that is not kAllocated, also when two threads free it at the same time: two
// remote frees meet in the remote bit, a remote and a local one meet in the drain.
//
// Called by: thread_cache, large, heap.
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

// Moves the current word to the next one with a free slot. False when there is none. Owner only.
bool page_advance(Page& page) noexcept;

// Takes over the slots that other threads have freed, for a page that was popped from the pending list. False when
// another free is under way: the page has to go back to the list. Owner only. Dies when a slot was freed twice.
[[nodiscard]] bool page_drain_remote(Page& page) noexcept;

// Frees an object from a thread that does not own the page. True when the page has to be pushed to its owner's pending
// list by the caller. Dies when the object was free already.
[[nodiscard]] bool page_free_remote(Page& page, std::uint32_t index) noexcept;

// Checks invariants 1 and 2 of layout.h. Owner only, between operations.
[[nodiscard]] bool page_is_valid(const Page& page) noexcept;

// Publishes an object in a slot that the caller has reserved. Returns its address.
//
// The address is made opaque before the state becomes kAllocated, so the compiler has to have it in a register or on
// the stack from then on: a thread that is stopped anywhere in here either has no object yet or holds a root to it.
inline void* page_publish(Page& page, std::uint32_t index, std::size_t requested_bytes, Birth birth,
                          std::uint8_t flags) noexcept {
  std::uintptr_t address = page.address_of(index);
  asm volatile("" : "+r"(address));
  page.slacks[index].store(static_cast<std::uint16_t>(page.slot_bytes - requested_bytes), std::memory_order_relaxed);
  page.births[index].store(birth.pack(), std::memory_order_relaxed);
  page.states()[index].store(state::kAllocated | flags, std::memory_order_release);
  return reinterpret_cast<void*>(address);
}

// Takes the lowest free slot of the current word; null when the word is used up. Owner only.
inline void* page_take(Page& page, std::size_t requested_bytes, Birth birth, std::uint8_t flags) noexcept {
  const std::uint64_t word = *page.free_word;
  if (word == 0) [[unlikely]]
    return nullptr;
  *page.free_word = word & (word - 1);
  ++page.used;
  const auto index = page.free_index + static_cast<std::uint32_t>(std::countr_zero(word));
  return page_publish(page, index, requested_bytes, birth, flags);
}

// Frees an object of the calling thread's own page whose state was seen to be allocated. True when the page needs
// attention: it became empty, or it was full. Owner only.
[[nodiscard]] inline bool page_free_local(Page& page, std::uint32_t index) noexcept {
  page.states()[index].store(state::kFree, std::memory_order_relaxed);
  page.free_bits[index / 64] |= std::uint64_t{1} << (index % 64);
  return --page.used == page.event;
}

}  // namespace arenascan::alloc
