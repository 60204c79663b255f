#include "alloc/stack_table.h"

#include <algorithm>

#include "alloc/os.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace arenascan::alloc {
namespace {

constexpr std::size_t kBucketCount = std::size_t{1} << 16;
constexpr std::size_t kBucketBytes = kBucketCount * sizeof(std::atomic<StackId>);
constexpr std::size_t kMinBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxBytes = std::size_t{32} << 30;
constexpr std::size_t kCommitStepBytes = std::size_t{1} << 20;

}  // namespace

bool StackTable::init(std::size_t bytes) noexcept {
  if (const std::size_t limit = os_address_space_limit_bytes(); limit != 0) bytes = std::min(bytes, limit / 16);
  for (bytes = std::min(bytes, kMaxBytes) & ~(kOsPageBytes - 1); bytes >= kMinBytes; bytes /= 2) {
    void* const memory = os_reserve(bytes, kOsPageBytes);
    if (memory == nullptr) continue;
    if (!os_commit(memory, kBucketBytes)) {
      os_release(memory, bytes);
      continue;
    }
    begin_ = reinterpret_cast<std::uintptr_t>(memory);
    bytes_ = bytes;
    records_ = begin_ + kBucketBytes;
    committed_.store(records_, std::memory_order_release);
    buckets_ = reinterpret_cast<std::atomic<StackId>*>(memory);
    return true;
  }
  return false;
}

void StackTable::destroy() noexcept {
  if (buckets_ != nullptr) os_release(reinterpret_cast<void*>(begin_), bytes_);
  buckets_ = nullptr;
}

bool StackTable::commit_through(std::uintptr_t end) noexcept {
  if (end <= committed_.load(std::memory_order_acquire)) return true;
  const std::scoped_lock guard(mutex_);
  for (;;) {
    const std::uintptr_t committed = committed_.load(std::memory_order_relaxed);
    if (end <= committed) return true;
    const std::size_t step = std::min(kCommitStepBytes, begin_ + bytes_ - committed);
    if (step == 0 || !os_commit(reinterpret_cast<void*>(committed), step)) return false;
    committed_.store(committed + step, std::memory_order_release);
  }
}

StackId StackTable::find(StackId from, StackId until, std::uint64_t hash,
                         std::span<const std::uintptr_t> frames) const noexcept {
  for (StackId id = from; id != until; id = record(id)->next) {
    const Record& seen = *record(id);
    if (seen.hash == hash && seen.depth == frames.size() && std::equal(frames.begin(), frames.end(), seen.frames())) {
      return id;
    }
  }
  return kNoStack;
}

StackId StackTable::append(std::uint64_t hash, std::span<const std::uintptr_t> frames) noexcept {
  const std::size_t bytes = sizeof(Record) + frames.size_bytes();
  const std::uint64_t unit = next_unit_.fetch_add(bytes / kUnitBytes, std::memory_order_relaxed);
  const std::uintptr_t end = records_ + unit * kUnitBytes + bytes;
  if (unit > UINT32_MAX || end > begin_ + bytes_ || !commit_through(end)) return kNoStack;
  const auto id = static_cast<StackId>(unit);
  Record& added = *record(id);
  added.depth = static_cast<std::uint32_t>(frames.size());
  added.hash = hash;
  std::copy(frames.begin(), frames.end(), added.frames());
  return id;
}

StackId StackTable::intern(std::span<const std::uintptr_t> frames) noexcept {
  if (buckets_ == nullptr || frames.empty()) return kNoStack;
  const std::uint64_t hash = XXH3_64bits(frames.data(), frames.size_bytes());
  std::atomic<StackId>& bucket = buckets_[hash % kBucketCount];
  StackId head = bucket.load(std::memory_order_acquire);
  if (const StackId known = find(head, kNoStack, hash, frames); known != kNoStack) return known;

  const StackId added = append(hash, frames);
  if (added == kNoStack) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return kNoStack;
  }
  for (;;) {
    record(added)->next = head;
    const StackId searched = head;
    // Release publishes the record; acquire shows those that others have put in front meanwhile.
    if (bucket.compare_exchange_weak(head, added, std::memory_order_release, std::memory_order_acquire)) break;
    // Another thread may have stored the same stack; its record is then the one to use, and this one is lost space.
    if (const StackId known = find(head, searched, hash, frames); known != kNoStack) return known;
  }
  stacks_.fetch_add(1, std::memory_order_relaxed);
  return added;
}

std::span<const std::uintptr_t> StackTable::frames(StackId id) const noexcept {
  if (id == kNoStack) return {};
  const Record& stored = *record(id);
  return {stored.frames(), stored.depth};
}

StackTable::Stats StackTable::stats() const noexcept {
  // What found no room has moved next_unit_ as well.
  const std::uint64_t asked_for = next_unit_.load(std::memory_order_relaxed) * kUnitBytes;
  return {stacks_.load(std::memory_order_relaxed), std::min<std::uint64_t>(asked_for, begin_ + bytes_ - records_),
          dropped_.load(std::memory_order_relaxed)};
}

}  // namespace arenascan::alloc
