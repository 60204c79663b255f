#include "alloc/page_map.h"

#include <algorithm>

#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr std::size_t kStepEntries = 4 * kOsPageBytes / sizeof(Atomic<std::uintptr_t>);  // 128 MiB of heap

}  // namespace

void PageMap::init(std::uintptr_t begin, std::size_t page_count, void* entries) noexcept {
  begin_ = begin;
  page_count_ = page_count;
  entries_ = static_cast<Atomic<std::uintptr_t>*>(entries);
  limit_bytes_.store(0, std::memory_order_release);
  quick_limit_bytes_.store(0, std::memory_order_release);
}

bool PageMap::grow_slow_locked(std::size_t page_count) noexcept {
  const std::size_t have = limit_bytes_.load(std::memory_order_relaxed) >> kPageShift;
  const std::size_t want = std::min(page_count_, (page_count + kStepEntries - 1) / kStepEntries * kStepEntries);
  if (!os_commit(entries_ + have, (want - have) * sizeof(Atomic<std::uintptr_t>))) return false;
  limit_bytes_.store(want * kPageBytes, std::memory_order_release);
  if (is_quick_way_open_) quick_limit_bytes_.store(want * kPageBytes, std::memory_order_release);
  return true;
}

}  // namespace arenascan::alloc
