// A thread's memory of where it allocated lately: from the caller's state to the id of its call stack, without a walk.
//
//     code address, stack pointer --hash--> set of 4 entries --tag--> trail --compare--> stack id
//                                                |none
//                                                +--> walk, intern the stack, intern its trail, remember it here
//
// An entry is only a hint where to look; whether it holds is decided by its trail (trail.h), which compares every word
// that a walk would read. So a hit cannot name another stack than a walk would.
//
// Both tables are the process's (StackTable): stacks, whose frames are the expected return addresses, and trails, whose
// words are
//
//     | steps 29 | ends by fp, only returns, compares fp 3 | stack id 32 |    | fp - sp |    | step | step | ... | end
//     |
//
// Threads: a cache is one thread's; a signal handler that allocates may use it in the middle of anything, because an
// entry is one word. Called by: api/ (each allocation).
//
// The idea of asking a small cache for the whole stack and not for each frame is that of TCMalloc's and heaptrack's
// stack tables; proving the answer by the words of the walk is ours.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/stack_table.h"
#include "alloc/trail.h"
#include "alloc/unwind.h"

namespace arenascan::alloc {

// Where an allocation came from: an address in the entry point that the program called, and that function's frame,
// which begins with the caller's frame pointer and the return address. Good while the entry point has not returned.
struct Origin {
  const void* entry;
  const std::uintptr_t* frame;

  [[nodiscard]] FrameState caller() const noexcept {
    return {frame[1], reinterpret_cast<std::uintptr_t>(frame + 2), frame[0]};
  }
  // The first frame of every stack: an address in the entry point, like the return addresses behind it.
  [[nodiscard]] std::uintptr_t entry_frame() const noexcept { return reinterpret_cast<std::uintptr_t>(entry) + 1; }
};

// An address in the function that it stands in. (The address of a function that a program refers to may be that of the
// program's stub for it.)
[[gnu::always_inline]] inline const void* this_code() noexcept {
  const void* address = nullptr;
  asm("lea (%%rip), %0" : "=r"(address));
  return address;
}

// The origin of the function it stands in, which the program called; needs a frame pointer there, and no call from
// there may be made a jump.
#define ARENA_ORIGIN(entry_point)                                         \
  (::arenascan::alloc::Origin{reinterpret_cast<const void*>(entry_point), \
                              static_cast<const std::uintptr_t*>(__builtin_frame_address(0))})

struct StackTables {
  StackTable stacks;
  StackTable trails;
};

class StackCache {
 public:
  // The stack that a walk from `origin` would find; kNoStack when the cache does not know.
  [[gnu::always_inline]] StackId find(const StackTables& tables, const Origin& origin) const noexcept {
    const FrameState caller = origin.caller();
    const Key key = key_of(origin.entry_frame(), caller);
    for (const std::uint64_t entry : sets_[key.set].entries) {
      if (entry >> 32 != key.tag) continue;
      const std::uintptr_t* const trail = tables.trails.words(static_cast<StackId>(entry));
      const auto stack = static_cast<StackId>(trail[0]);
      if (holds(trail, tables.stacks.words(stack), origin.entry_frame(), caller)) [[likely]]
        return stack;
    }
    return kNoStack;
  }

  // Notes that `trail`, recorded by a walk from `origin`, led to `stack`.
  void remember(StackTables& tables, const Origin& origin, StackId stack, const Trail& trail) noexcept;

 private:
  static constexpr std::size_t kSetBits = 8;
  static constexpr std::size_t kWays = 4;
  static constexpr unsigned kCountShift = 35;
  static constexpr std::uint64_t kComparesFp = std::uint64_t{1} << 32;
  static constexpr std::uint64_t kOnlyReturns = std::uint64_t{1} << 33;  // no step compares a frame pointer
  static constexpr std::uint64_t kEndsByFp = std::uint64_t{1} << 34;     // the step behind the others says where
  // Set in every tag, so that an entry, which lies in memory that is scanned, does not look like an address.
  static constexpr std::uint64_t kTagBit = std::uint64_t{1} << 31;

  struct Key {
    std::size_t set;
    std::uint64_t tag;
  };
  struct alignas(32) Set {
    std::uint64_t entries[kWays];  // tag 32 | trail id 32, newest first
  };

  [[gnu::always_inline]] static Key key_of(std::uintptr_t entry_frame, const FrameState& caller) noexcept {
    constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;
    const std::uint64_t generation = g_module_generation.load(std::memory_order_relaxed);
    // Addresses differ in their lower halves; the highest bits of the product depend on all of them.
    const std::uint64_t hash = (caller.pc + generation + (caller.sp << 21) + (entry_frame << 42)) * kGoldenRatio;
    return {static_cast<std::size_t>(hash >> (64 - kSetBits)), (hash >> 24 & UINT32_MAX) | kTagBit};
  }

  // Whether every word that the walk read is as it was. Stacks belong to running code: out of the sanitizers' sight.
  [[gnu::always_inline, gnu::no_sanitize_address]] static bool holds(const std::uintptr_t* trail,
                                                                     const std::uintptr_t* frames,
                                                                     std::uintptr_t entry_frame,
                                                                     const FrameState& caller) noexcept {
    const std::uintptr_t sp = caller.sp;
    if (frames[0] != entry_frame || frames[1] != caller.pc) return false;
    if ((trail[0] & kComparesFp) != 0 && caller.fp - sp != trail[1]) return false;
    const auto word_at = [sp](std::uint64_t distance) { return reinterpret_cast<const std::uintptr_t*>(sp)[distance]; };
    const std::uintptr_t* expected = frames + 2;
    const std::uintptr_t* const end = trail + 2 + (trail[0] >> kCountShift);
    if ((trail[0] & kOnlyReturns) != 0) [[likely]] {
      for (const std::uintptr_t* step = trail + 2; step != end; ++step) {
        if (word_at(*step & UINT16_MAX) != *expected++) return false;
      }
      return (trail[0] & kEndsByFp) == 0 || ends_by_fp(*end, caller);
    }
    for (const std::uintptr_t* step = trail + 2; step != end; ++step) {
      const std::uint64_t return_at = *step & UINT16_MAX;
      const std::uint64_t fp_at = *step >> 16 & UINT16_MAX;
      if (fp_at != TrailStep::kNone) {
        const auto fp = static_cast<std::uintptr_t>(static_cast<std::int64_t>(*step) >> 32);
        if (word_at(fp_at) - sp != fp) return false;
        if (return_at == TrailStep::kNone) continue;
      }
      if (word_at(return_at) != *expected++) return false;
    }
    return (trail[0] & kEndsByFp) == 0 || ends_by_fp(*end, caller);
  }

  // Whether a walk that came this far would end here once more.
  static bool ends_by_fp(std::uint64_t end, const FrameState& caller) noexcept;

  Set sets_[std::size_t{1} << kSetBits];
};

}  // namespace arenascan::alloc
