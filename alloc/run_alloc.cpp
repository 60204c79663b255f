#include "alloc/run_alloc.h"

#include <algorithm>
#include <bit>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr std::size_t kCommitStepPages = 512;  // 32 MiB

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

void RunAllocator::init(std::uintptr_t begin, std::size_t page_count, std::uint64_t* bitmaps,
                        const Settings& settings) noexcept {
  settings_ = settings;
  begin_ = begin;
  page_count_ = page_count;
  taken_ = bitmaps;
  dirty_ = taken_ + (page_count + 63) / 64;
  idle_ = dirty_ + (page_count + 63) / 64;
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
    void* const at = reinterpret_cast<void*>(begin_ + committed_ * kPageBytes);
    const std::size_t bytes = (target - committed_) * kPageBytes;
    if (os_commit(at, bytes)) {
      if (settings_.huge_pages) os_prefer_huge_pages(at, bytes);
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
  set_bits(idle_, first, count, false);
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
  idle_dirty_count_ += count;
  decay_locked(os_monotonic_ns());
}

void RunAllocator::decay_locked(std::uint64_t now_ns) noexcept {
  if (now_ns < next_look_ns_) return;
  next_look_ns_ = now_ns + settings_.decay_ns;
  if (idle_dirty_count_ == 0) return;
  std::size_t first = 0;  // the run that is being gathered
  std::size_t count = 0;
  for (std::size_t word = 0; word * 64 < high_water_; ++word) {
    const std::uint64_t unused = dirty_[word] & ~taken_[word];
    const std::uint64_t old = settings_.decay_ns == 0 ? unused : idle_[word];
    idle_[word] = unused & ~old;
    for (std::uint64_t rest = old; rest != 0; rest &= rest - 1) {
      const std::size_t page = word * 64 + static_cast<std::size_t>(std::countr_zero(rest));
      if (page != first + count) {
        purge(first, count);
        first = page;
        count = 0;
      }
      ++count;
    }
  }
  purge(first, count);
}

void RunAllocator::purge(std::size_t first, std::size_t count) noexcept {
  if (count == 0) return;
  if (!os_decommit(reinterpret_cast<void*>(begin_ + first * kPageBytes), count * kPageBytes)) return;  // stay dirty
  set_bits(dirty_, first, count, false);
  idle_dirty_count_ -= count;
}

bool RunAllocator::is_valid_locked() const noexcept {
  std::size_t taken = 0;
  std::size_t idle_dirty = 0;
  for (std::size_t page = 0; page < high_water_; ++page) {
    const bool is_taken = test(taken_, page);
    if (!is_taken && page < lowest_free_) return false;
    taken += is_taken ? 1 : 0;
    const bool is_idle_dirty = !is_taken && test(dirty_, page);
    if (test(idle_, page) && !is_idle_dirty) return false;
    idle_dirty += is_idle_dirty ? 1 : 0;
  }
  if (next_taken(high_water_, page_count_) != page_count_) return false;
  return taken == taken_count_ && idle_dirty == idle_dirty_count_ && high_water_ <= committed_;
}

}  // namespace arenascan::alloc
