// A thread's memory of where it allocated lately: from the caller's state to the id of its call stack, without a walk.
//
//     entry point, its frame, its caller --hash--> entry: the words to compare  --equal-->  stack id
//                                                    | differs: which, found what
//                                                    +--hash--> entry of the fork --> ...
//                                                    | no entry
//                                                    +--> walk, intern the stack, remember here what the walk read
//
// An entry is only a hint; whether it holds is decided by its trail (trail.h): every word that a walk would read is
// compared. So a hit cannot name another stack than a walk would. (Of what is not on the stack, the entry point and the
// generation of the modules, 64 bits of hash are compared.)
//
// Many stacks may lead to one call site at one depth (a wrapper around malloc). The first of them is found by the site;
// the others by where, and with which word, they fork off from an entry that was tried before: a search visits as many
// entries as there are forks on its way, however many stacks there are.
//
// Most trails fit into their entry. The rest of a longer one is compared from where such trails are kept, once for the
// process, in a StackTable; the return addresses it expects are the frames of its stack.
//
// Threads: a cache is one thread's, and in use by one call at a time (a signal handler goes without). Its memory must
// not be scanned: it holds addresses. Called by: api/ (each allocation).
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
// program's stub for it.) Artificial: in a report it is its caller.
[[gnu::always_inline, gnu::artificial]] inline const void* this_code() noexcept {
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
  [[gnu::always_inline]] StackId find(const Origin& origin) const noexcept {
    const std::uint64_t hash = hash_of(origin);
    const Entry& newest = set_of(hash)[0];
    if (is_for(newest, hash, origin)) [[likely]] {
      if (fork_from(newest).is_none()) [[likely]]
        return newest.stack;
    }
    return search(hash, origin);
  }

  // Notes that `trail`, recorded by a walk from `origin`, led to `stack`.
  void remember(StackTables& tables, const Origin& origin, StackId stack, const Trail& trail) noexcept;

 private:
  static constexpr unsigned kSetBits = 9;
  static constexpr std::size_t kWays = 2;
  static constexpr std::size_t kWords = 8;

  // Where the words on the stack leave an entry's trail, and the one found there.
  struct Fork {
    static constexpr std::size_t kNone = SIZE_MAX;
    std::size_t place = kNone;
    std::uintptr_t word = 0;
    [[nodiscard]] bool is_none() const noexcept { return place == kNone; }
  };

  // A trail, made out for one frame address.
  struct alignas(64) Entry {
    std::uint64_t hash;  // of the way to it
    const std::uintptr_t* frame;
    StackId stack;
    std::uint16_t count;             // words to compare, at least one
    std::uint16_t steps;             // of the trail, that they stand for
    const std::uintptr_t* trail;     // null: there is no more to compare
    const std::uintptr_t* expected;  // return address of the step behind them
    std::uint16_t at[kWords];        // distance from `frame`, in words; in the order of the walk
    std::uintptr_t word[kWords];
  };

  // Addresses differ in their lower halves; the highest bits of the product depend on all of them. An odd factor loses
  // nothing: of one caller and one frame, the entry points (which lie within 4 MiB of each other) and the generations
  // (a module that is gone may make place for another whose code has the same addresses) all have hashes of their own.
  [[gnu::always_inline]] static std::uint64_t hash_of(const Origin& origin) noexcept {
    return (origin.frame[1] + g_module_generation.load(std::memory_order_relaxed) +
            (reinterpret_cast<std::uintptr_t>(origin.frame) << 21) +
            (reinterpret_cast<std::uintptr_t>(origin.entry) << 42)) *
           kGoldenRatio;
  }
  static std::uint64_t hash_of_fork(std::uint64_t hash, const Fork& fork) noexcept;

  // A set's entries, newest first.
  [[nodiscard]] const Entry* set_of(std::uint64_t hash) const noexcept { return sets_[hash >> (64 - kSetBits)]; }
  [[gnu::always_inline]] static bool is_for(const Entry& entry, std::uint64_t hash, const Origin& origin) noexcept {
    return entry.hash == hash && entry.frame == origin.frame;
  }

  // Stacks belong to running code: out of the sanitizers' sight. One word's place follows from those before it: none is
  // read that a walk would not read.
  [[gnu::always_inline, gnu::no_sanitize_address]] static Fork fork_from(const Entry& entry) noexcept {
    const std::size_t count = entry.count;
    std::size_t i = 0;
    do {
      const std::uintptr_t word = entry.frame[entry.at[i]];
      if (word != entry.word[i]) return {i, word};
    } while (++i != count);
    return entry.trail == nullptr ? Fork{} : fork_from_rest(entry);
  }
  static Fork fork_from_rest(const Entry& entry) noexcept;

  // Goes from fork to fork, beginning at `hash`: to the entry that holds, or, when it returns null, to the place, then
  // in `hash`, where a new one belongs.
  const Entry* follow(std::uint64_t& hash, const Origin& origin) const noexcept;
  [[gnu::noinline]] StackId search(std::uint64_t hash, Origin origin) const noexcept;

  static constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;

  Entry sets_[std::size_t{1} << kSetBits][kWays];
};

}  // namespace arenascan::alloc
