// The nouns of the heap, and where their bytes lie. The file to read first.
//
// A heap owns one reserved range of address space. Its front is user memory in 64 KiB pages; behind it, out of reach of
// an overflow from a block, lie the page map and the metadata.
//
//     | page 0 | page 1 | page 2 | ...        user memory           | guard | page map | metadata blocks ... |
//       \_ span of one class _/                                                |
//                                              one entry a page: the Page that describes it (page_map.h)
//
// A Page describes one span: a run of 64 KiB pages cut into slots of one size class, or the run of one large object.
// It heads a metadata block; arrays with an entry for each slot follow it:
//
//     | Page | states 1 B | marks 1 B | records 8 B | PageLocal, free bits | PageRemote, remotely freed bits |
//
// What the owner writes with every call, what other threads write, and what is only read lie in cache lines of their
// own: a line that two threads write in turn costs as much as the rest of a free together.
//
// Invariants
//   1. used + free bits set == capacity, seen from the owner between two operations: slots that hold an object, that
//      another thread freed, or that a thread's cursor (thread_cache.h) has set aside for its next allocations are
//      used.
//   2. A slot whose free bit is set has state kFree; a live object has kAllocated, maybe with policy flags; a slot that
//      another thread freed waits as kRemotelyFreed with its remote bit set.
//   3. Nothing the allocator needs lies in user memory: a program that writes through dangling pointers or past its
//      blocks cannot change a free list, a size or a colour.
//   4. Metadata blocks are reused but never unmapped, so a stale Page pointer can be read at any time.
//
// Threads: who may write what is told at each field. "Owner" is the thread whose ThreadCache owns the page (or, while
// that cache is idle, the holder of the heap's lock).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/atomic.h"
#include "alloc/size_class.h"

namespace arenascan::alloc {

class ThreadCache;
struct Page;

// State of a slot: the low two bits say whether it holds an object, the rest is what the user decided about it.
// Writers: the owner and freeing threads (plain stores), annotations (compare-and-swap, so that a policy never revives
// a slot that is being freed). Readers: everybody, the scanner a vector at a time. A release store of kAllocated
// publishes the record and the contents known so far to a reader that acquires it.
namespace state {
inline constexpr std::uint8_t kFree = 0x00;
inline constexpr std::uint8_t kAllocated = 0x01;
inline constexpr std::uint8_t kRemotelyFreed = 0x02;
inline constexpr std::uint8_t kHeld = 0x03;  // freed, and kept from use for a while (quarantine)
inline constexpr std::uint8_t kOccupancyMask = 0x03;
inline constexpr std::uint8_t kByNew = 0x04;       // where mismatched frees are looked for: who allocated it;
inline constexpr std::uint8_t kByNewArray = 0x08;  // neither: malloc and its kin
inline constexpr std::uint8_t kFamilyMask = 0x0C;
inline constexpr std::uint8_t kNotLeak = 0x10;  // never reported; what it points to is reached
inline constexpr std::uint8_t kIgnored = 0x20;  // never reported; not read
inline constexpr std::uint8_t kNoScan = 0x40;   // not read; reported when lost
inline constexpr std::uint8_t kPolicyMask = 0x70;

constexpr bool is_allocated(std::uint8_t value) noexcept { return (value & kOccupancyMask) == kAllocated; }
}  // namespace state

// Where and when an object came to be. The stamp counts scans and marks set by tests; it orders births against them,
// and costs no clock read. Its 16 bits come round: Heap::age_births_locked() makes old ones kOld, which none has as it
// is born.
struct Birth {
  std::uint32_t stack = 0;  // StackId
  std::uint16_t stamp = kOld;

  // How many stamps before `now` it was, which is later than it; kOldestAge stands for older ones as well.
  [[nodiscard]] constexpr std::uint32_t age(std::uint32_t now) const noexcept {
    const auto exact = static_cast<std::uint16_t>(now - stamp);
    return stamp != kOld && exact < kOldestAge ? exact : kOldestAge;
  }

  // Whether it can be the one that was `read` from its slot before: it may have grown old since.
  [[nodiscard]] constexpr bool can_be(const Birth& read) const noexcept {
    return stack == read.stack && (stamp == read.stamp || stamp == kOld);
  }

  static constexpr std::uint16_t kOld = 0;
  static constexpr std::uint16_t kOldestAge = 0x8000;
  static constexpr std::uint16_t kAgingInterval = 0x4000;  // stamps between two walks that age old births

  friend bool operator==(const Birth&, const Birth&) = default;
};

// What is known of an object, in the one word that an allocation stores: its birth, and how much of its slot it leaves
// unused (of a large object, whose rest does not fit, see large_bytes).
//
//     | stack 32 | stamp 16 | slack 16 |
struct Record {
  Birth birth;
  std::uint16_t slack = 0;

  [[nodiscard]] constexpr std::uint64_t pack() const noexcept { return pack(birth, slack); }
  static constexpr std::uint64_t pack(const Birth& birth, std::size_t slack) noexcept {  // slack: below 2^16
    return std::uint64_t{birth.stack} << 32 | std::uint64_t{birth.stamp} << 16 | slack;
  }
  static constexpr Record unpack(std::uint64_t word) noexcept {
    return {{static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16)},
            static_cast<std::uint16_t>(word)};
  }
};

// What the owner of a page counts, in front of its free bits.
struct PageLocal {
  std::uint32_t used = 0;
  std::uint32_t event = 0;  // value of `used` at which a free needs the slow path: 0, or, when the page is full, less
                            // than its capacity
  [[nodiscard]] std::uint64_t* free_bits() noexcept { return reinterpret_cast<std::uint64_t*>(this + 1); }
};

// What frees by other threads leave behind, in front of the bits of their slots.
struct PageRemote {
  // Frees by other threads that the owner has not drained yet, counted before their remote bit is set. Whoever raises
  // it from 0 pushes the page to its owner's pending list; the owner lowers it by the bits it has drained, and the page
  // leaves the list when that makes 0. So a page is pushed once, no free is forgotten, and a page whose `used` is 0 is
  // in no list. Raised with acquire (pairs with the owner's release of next_pending), lowered with acq_rel.
  Atomic<std::uint32_t> pending{0};
  Page* next_pending = nullptr;  // written by the pusher, read by whoever empties the list

  // Set by other threads (release), taken by the owner (acquire).
  [[nodiscard]] Atomic<std::uint64_t>* bits() noexcept { return reinterpret_cast<Atomic<std::uint64_t>*>(this + 1); }
};

struct alignas(64) Page {
  // One cache line: all of the descriptor that a free reads, and the mark of a small object. But for the owner, nothing
  // in it changes after the span is set up and published in the page map.
  std::uintptr_t base = 0;
  std::uint64_t reciprocal = 0;  // 0 for a large object: every address has index 0
  std::size_t slot_bytes = 0;
  Atomic<std::uint64_t>* records = nullptr;
  PageLocal* local = nullptr;
  PageRemote* remote = nullptr;

  // The cache that owns this page. Writer: the owner, or the heap's lock holder while the cache is idle. Readers: all
  // frees, relaxed: a thread that reads its own cache here is the owner, any other value means "not mine".
  Atomic<ThreadCache*> owner{nullptr};

  std::uint32_t capacity = 0;
  std::uint32_t size_class = kLargeClass;

  // The second line: what a page's life needs less often.
  std::uint32_t page_count = 0;
  std::uint32_t word_count = 0;    // of each bit array
  std::uint32_t words_in_use = 0;  // the owner's: slots of the words behind these have never been taken
  std::uint32_t next_word = 0;     // the owner's: where the search for free bits goes on
  bool listed = false;             // the owner's: in its cache's partial list

  // Slots with a policy flag set since the span was set up: lets the scan skip pages without any. Set by whoever sets
  // a flag (relaxed, before the flag's release), cleared at set-up only.
  Atomic<bool> annotated{false};

  Page* next = nullptr;  // partial list of the cache; free list of metadata blocks
  Page* prev = nullptr;

  // Exact size of a large object (slacks are too narrow); writer: its allocator and realloc; readers: scanner. Relaxed.
  Atomic<std::size_t> large_bytes{0};

  [[nodiscard]] Atomic<std::uint8_t>* states() noexcept { return reinterpret_cast<Atomic<std::uint8_t>*>(this + 1); }
  [[nodiscard]] const Atomic<std::uint8_t>* states() const noexcept {
    return reinterpret_cast<const Atomic<std::uint8_t>*>(this + 1);
  }

  // Colours; scan/color.h says what they mean. Written by the scanner only, with idempotent stores.
  [[nodiscard]] Atomic<std::uint8_t>* marks() noexcept { return states() + padded_capacity(); }
  [[nodiscard]] const Atomic<std::uint8_t>* marks() const noexcept { return states() + padded_capacity(); }

  // States and marks are padded with zeros to whole vectors, so that they can be read 64 at a time; at least one zero
  // follows, so that an address in the unused tail of a span, whose index is `capacity`, holds no object.
  [[nodiscard]] std::uint32_t padded_capacity() const noexcept { return padded(capacity); }
  [[nodiscard]] static constexpr std::uint32_t padded(std::uint32_t capacity) noexcept {
    return (capacity + 64) & ~63U;
  }

  [[nodiscard]] std::uint32_t index_of(std::uintptr_t address) const noexcept {
    return static_cast<std::uint32_t>(((address - base) * reciprocal) >> kReciprocalShift);
  }
  [[nodiscard]] std::uintptr_t address_of(std::uint32_t index) const noexcept { return base + index * slot_bytes; }
  [[nodiscard]] bool is_large() const noexcept { return size_class == kLargeClass; }

  // Writer of a record: the allocator of the slot and realloc; the aging of stamps, by compare-and-swap. Readers: the
  // scanner, frees. Relaxed: published by the state.
  [[nodiscard]] Record record(std::uint32_t index) const noexcept {
    return Record::unpack(records[index].load(std::memory_order_relaxed));
  }

  // The size the program asked for.
  [[nodiscard]] std::size_t requested_bytes(std::uint32_t index) const noexcept {
    return is_large() ? large_bytes.load(std::memory_order_relaxed) : slot_bytes - record(index).slack;
  }
  [[nodiscard]] Birth birth(std::uint32_t index) const noexcept { return record(index).birth; }
};
static_assert(offsetof(Page, page_count) == 64 && sizeof(Page) == 128);

}  // namespace arenascan::alloc
