// Call stacks of allocations, each stored once, named by 32-bit ids.
//
// A reserved range holds records one behind the other; a hash table of record ids in front of it is chained through
// the records. A stack is looked up by its XXH3 hash and compared frame by frame; a new one is appended and published
// with one compare-and-swap of the bucket's head.
//
//     buckets:  [head] [head] ...          head: id of the newest record of the chain, 0 = empty
//     records:  | next id | depth | hash | frame 0 (innermost) | frame 1 | ... |
//     id:       offset of the record in units of 8 bytes; 0 = "no stack known"
//
// Invariants
//   1. A record never changes and never goes away once its id has been handed out.
//   2. Ids are below 2^32: the range is at most 32 GiB; when it is full, new stacks get id 0 and are counted.
//
// Threads: any number at once, lock-free but for the growth of the accessible part. A record's contents are written
// before the release CAS that publishes it and read after an acquire load of the head or through an id that was itself
// published by its holder.
//
// A table keeps any sequences of words; the trails of walks (stack_cache.h) are kept in one of their own.
//
// Called by: stack_cache, misuse, api/ (allocations, reports).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

namespace arenascan::alloc {

using StackId = std::uint32_t;
inline constexpr StackId kNoStack = 0;

class StackTable {
 public:
  constexpr StackTable() = default;
  StackTable(const StackTable&) = delete;
  StackTable& operator=(const StackTable&) = delete;

  // Reserves the range, `bytes` at most, halved until the system grants it. False when nothing could be had: every
  // stack is kNoStack then. Call once, before any other function.
  bool init(std::size_t bytes) noexcept;
  void destroy() noexcept;  // for tables of tests; no id may be used any more

  // The id of this stack; the same frames always give the same id. kNoStack when it is empty or there is no room.
  StackId intern(std::span<const std::uintptr_t> frames) noexcept;

  // The frames of a stack, innermost first; empty for kNoStack.
  [[nodiscard]] std::span<const std::uintptr_t> frames(StackId id) const noexcept;

  // The same by their beginning, for an id that is not kNoStack.
  [[nodiscard]] const std::uintptr_t* words(StackId id) const noexcept { return record(id)->frames(); }

  struct Stats {
    std::uint64_t stacks;   // distinct stacks stored
    std::uint64_t bytes;    // of records
    std::uint64_t dropped;  // stacks that found no room
  };
  [[nodiscard]] Stats stats() const noexcept;

  // The range of the table's memory, for leaving it out of the roots.
  struct Range {
    std::uintptr_t begin, end;
  };
  [[nodiscard]] Range range() const noexcept { return {begin_, begin_ + bytes_}; }

 private:
  struct Record {
    StackId next;  // older record of the same bucket
    std::uint32_t depth;
    std::uint64_t hash;
    [[nodiscard]] std::uintptr_t* frames() noexcept { return reinterpret_cast<std::uintptr_t*>(this + 1); }
    [[nodiscard]] const std::uintptr_t* frames() const noexcept {
      return reinterpret_cast<const std::uintptr_t*>(this + 1);
    }
  };

  [[nodiscard]] Record* record(StackId id) const noexcept {
    return reinterpret_cast<Record*>(records_ + std::uintptr_t{id} * kUnitBytes);
  }
  [[nodiscard]] StackId find(StackId from, StackId until, std::uint64_t hash,
                             std::span<const std::uintptr_t> frames) const noexcept;
  StackId append(std::uint64_t hash, std::span<const std::uintptr_t> frames) noexcept;
  bool commit_through(std::uintptr_t end) noexcept;

  static constexpr std::size_t kUnitBytes = 8;

  std::uintptr_t begin_ = 0;  // constant after init, and the next three
  std::size_t bytes_ = 0;
  std::uintptr_t records_ = 0;
  std::atomic<StackId>* buckets_ = nullptr;

  std::atomic<std::uint64_t> next_unit_{
      1};  // first free unit; fetch_add by whoever appends, relaxed: it guards nothing
  std::atomic<std::uintptr_t> committed_{
      0};  // end of accessible records; raised under mutex_ (release), read by all (acquire)
  std::mutex mutex_;
  std::atomic<std::uint64_t> stacks_{0};  // counters, relaxed
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace arenascan::alloc
