#include "alloc/run_alloc.h"

#include <algorithm>
#include <bit>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr std::size_t kCommitStepPages = 512;       // 32 MiB
constexpr std::size_t kIdleDirtyBudgetPages = 256;  // 16 MiB

void set_bits(std::uint64_t* bits, std::size_t first, std::size_t count, bool value) noexcept {
  for (std::size_t page = first; page < first + count; ++page) {
    const std::uint64_t bit = std::uint64_t{1} << (page % 64);
    if (value) {
      bits[page / 64] |= bit;
    } else {
      bits[page / 64] &= ~bit;
    }
  }
}

}  // namespace

void RunAllocator::init(std::uintptr_t begin, std::size_t page_count, std::uint64_t* bitmaps) noexcept {
  begin_ = begin;
  page_count_ = page_count;
  taken_ = bitmaps;
  dirty_ = bitmaps + (page_count + 63) / 64;
}

std::size_t RunAllocator::next_free(std::size_t from) const noexcept {
  for (std::size_t page = from; page < page_count_;) {
    const std::uint64_t free = ~taken_[page / 64] >> (page % 64);
    if (free != 0) return std::min(page + static_cast<std::size_t>(std::countr_zero(free)), page_count_);
    page = (page / 64 + 1) * 64;
  }
  return page_count_;
}

std::size_t RunAllocator::next_taken(std::size_t from, std::size_t limit) const noexcept {
  for (std::size_t page = from; page < limit;) {
    const std::uint64_t taken = taken_[page / 64] >> (page % 64);
    if (taken != 0) return std::min(page + static_cast<std::size_t>(std::countr_zero(taken)), limit);
    page = (page / 64 + 1) * 64;
  }
  return limit;
}

bool RunAllocator::commit_through(std::size_t end_page) noexcept {
  if (end_page <= committed_) return true;
  const std::size_t stepped =
      std::min(page_count_, (end_page + kCommitStepPages - 1) / kCommitStepPages * kCommitStepPages);
  for (const std::size_t target : {stepped, end_page}) {
    if (os_commit(reinterpret_cast<void*>(begin_ + committed_ * kPageBytes), (target - committed_) * kPageBytes)) {
      committed_ = target;
      return true;
    }
  }
  return false;
}

bool RunAllocator::occupy(std::size_t first, std::size_t count, bool& zeroed) noexcept {
  if (!commit_through(first + count)) return false;
  zeroed = true;
  for (std::size_t page = first; page < first + count; ++page) {
    if (test(dirty_, page)) {
      zeroed = false;
      --idle_dirty_count_;
    }
  }
  set_bits(taken_, first, count, true);
  set_bits(dirty_, first, count, true);
  taken_count_ += count;
  high_water_ = std::max(high_water_, first + count);
  if (first == lowest_free_) lowest_free_ = next_free(first + count);
  return true;
}

RunAllocator::Run RunAllocator::take_locked(std::size_t count, std::size_t alignment) noexcept {
  const std::size_t align_pages = alignment >> kPageShift;
  const std::size_t begin_page = begin_ >> kPageShift;
  if (count == 0 || count > page_count_) return {};
  for (std::size_t page = lowest_free_; page < page_count_;) {
    page = next_free(page);
    if (align_pages > 1) page = ((begin_page + page + align_pages - 1) & ~(align_pages - 1)) - begin_page;
    if (page > page_count_ || count > page_count_ - page) break;
    const std::size_t blocked = next_taken(page, page + count);
    if (blocked == page + count) {
      Run run{begin_ + page * kPageBytes, false};
      if (!occupy(page, count, run.zeroed)) return {};
      return run;
    }
    page = blocked + 1;
  }
  return {};
}

bool RunAllocator::take_at_locked(std::uintptr_t base, std::size_t count) noexcept {
  const std::size_t first = (base - begin_) >> kPageShift;
  if (first > page_count_ || count > page_count_ - first) return false;
  bool zeroed = false;
  return next_taken(first, first + count) == first + count && occupy(first, count, zeroed);
}

void RunAllocator::give_back_locked(std::uintptr_t base, std::size_t count) noexcept {
  const std::size_t first = (base - begin_) >> kPageShift;
  ARENA_ASSERT(next_free(first) >= first + count);
  set_bits(taken_, first, count, false);
  taken_count_ -= count;
  lowest_free_ = std::min(lowest_free_, first);
  if (idle_dirty_count_ + count <= kIdleDirtyBudgetPages) {
    idle_dirty_count_ += count;
    return;
  }
  os_decommit(reinterpret_cast<void*>(base), count * kPageBytes);
  set_bits(dirty_, first, count, false);
}

bool RunAllocator::is_valid_locked() const noexcept {
  std::size_t taken = 0;
  std::size_t idle_dirty = 0;
  for (std::size_t page = 0; page < high_water_; ++page) {
    const bool is_taken = test(taken_, page);
    if (!is_taken && page < lowest_free_) return false;
    taken += is_taken ? 1 : 0;
    idle_dirty += !is_taken && test(dirty_, page) ? 1 : 0;
  }
  if (next_taken(high_water_, page_count_) != page_count_) return false;
  return taken == taken_count_ && idle_dirty == idle_dirty_count_ && high_water_ <= committed_;
}

}  // namespace arenascan::alloc
