// Runs of 64 KiB pages: which pages of the heap's range are in use, which are clean, and how much of it is committed.
//
// Three bitmaps, one bit a page: `taken`, `dirty` (may hold non-zero bytes) and `idle` (free and dirty since the last
// look). First fit from the lowest free page, which keeps the heap dense at the front: the range is committed as a
// growing prefix, in steps, and the scanner's walk over the page map ends at `high_water`.
//
// Freed pages stay dirty and resident for the next user. Once in a decay time whoever takes or gives back pages looks
// at those that have been idle since the last look, and gives their contents back to the system, neighbours together: a
// page that is wanted again soon is never given back, and no page is kept for more than two decay times while the heap
// is in use. (jemalloc's decay with two steps instead of a curve.)
//
// Invariants
//   1. No page at or above high_water_ is taken; no page at or above committed_ may be touched.
//   2. A page that is free and not dirty reads as zero.
//   3. An idle page is free and dirty.
//
// Threads: the heap's lock is held by every caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/size_class.h"

namespace arenascan::alloc {

class RunAllocator {
 public:
  constexpr RunAllocator() = default;

  // Bytes of zeroed memory that init() needs for `page_count` pages.
  static constexpr std::size_t bitmap_bytes(std::size_t page_count) noexcept { return (page_count + 63) / 64 * 24; }

  struct Settings {
    std::uint64_t decay_ns = 1'000'000'000;
    bool huge_pages = false;  // ask the system for huge pages
  };
  void init(std::uintptr_t begin, std::size_t page_count, std::uint64_t* bitmaps, const Settings& settings) noexcept;

  struct Run {
    std::uintptr_t base = 0;  // 0: no memory
    bool zeroed = false;
  };

  // A run of `count` pages whose base is a multiple of `alignment` (a power of two, at least a page).
  [[nodiscard]] Run take_locked(std::size_t count, std::size_t alignment = kPageBytes) noexcept;

  // Takes `count` pages right at `base` when all of them are free; for growing a run in place.
  [[nodiscard]] bool take_at_locked(std::uintptr_t base, std::size_t count) noexcept;

  void give_back_locked(std::uintptr_t base, std::size_t count) noexcept;

  // Gives back what has been idle for a decay time, if it is time to look. `now_ns` is monotonic.
  void decay_locked(std::uint64_t now_ns) noexcept;

  // Number of pages from the beginning of the range behind which none was ever taken.
  [[nodiscard]] std::size_t high_water() const noexcept { return high_water_; }
  [[nodiscard]] std::size_t taken_pages() const noexcept { return taken_count_; }

  // Walks the bitmaps and checks the invariants.
  [[nodiscard]] bool is_valid_locked() const noexcept;

 private:
  [[nodiscard]] bool test(const std::uint64_t* bits, std::size_t page) const noexcept {
    return (bits[page / 64] >> (page % 64) & 1) != 0;
  }
  // First page at or after `from` whose taken bit is (not) set, or page_count_.
  [[nodiscard]] std::size_t next_free(std::size_t from) const noexcept;
  [[nodiscard]] std::size_t next_taken(std::size_t from, std::size_t limit) const noexcept;
  [[nodiscard]] bool commit_through(std::size_t end_page) noexcept;
  void purge(std::size_t first, std::size_t count) noexcept;
  bool occupy(std::size_t first, std::size_t count, bool& zeroed) noexcept;

  std::uintptr_t begin_ = 0;
  std::size_t page_count_ = 0;
  std::uint64_t* taken_ = nullptr;
  std::uint64_t* dirty_ = nullptr;
  std::uint64_t* idle_ = nullptr;
  Settings settings_;
  std::uint64_t next_look_ns_ = 0;
  std::size_t lowest_free_ = 0;  // no free page below
  std::size_t high_water_ = 0;
  std::size_t committed_ = 0;
  std::size_t taken_count_ = 0;
  std::size_t idle_dirty_count_ = 0;  // free pages that are dirty
};

}  // namespace arenascan::alloc
