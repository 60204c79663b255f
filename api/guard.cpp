#include "api/guard.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "alloc/lock.h"
#include "alloc/options.h"
#include "alloc/os.h"
#include "api/new_delete.h"

namespace arenascan::api::guard {
namespace {

constexpr unsigned char kPattern = 0xDF;

// A ring of addresses, oldest first.
class Quarantine {
 public:
  constexpr Quarantine() = default;

  // Adds an object that the heap holds. False when there is no memory for the ring, or the object is too large for it.
  bool push(void* object, std::size_t bytes) noexcept {
    const std::scoped_lock guard(lock_);
    if (bytes > limit_bytes() || !prepare()) return false;
    ring_[(first_ + count_++) % kCapacity] = object;
    bytes_ += bytes;
    return true;
  }

  // Takes out the oldest object if there are too many; else null.
  void* pop_excess() noexcept {
    const std::scoped_lock guard(lock_);
    if (count_ == 0 || (bytes_ <= limit_bytes() && count_ < kCapacity)) return nullptr;
    void* const oldest = ring_[first_];
    first_ = (first_ + 1) % kCapacity;
    --count_;
    bytes_ -= g_process.value.heap.held_bytes(oldest);
    return oldest;
  }

  void lock() noexcept { lock_.lock(); }
  void unlock() noexcept { lock_.unlock(); }

 private:
  static constexpr std::size_t kCapacity = std::size_t{1} << 20;

  static std::size_t limit_bytes() noexcept { return std::size_t{alloc::options().quarantine_mib} << 20; }

  bool prepare() noexcept {
    if (ring_ != nullptr) return true;
    void* const memory = alloc::os_reserve(kCapacity * sizeof(void*), alloc::kOsPageBytes);
    if (memory == nullptr || !alloc::os_commit(memory, kCapacity * sizeof(void*))) return false;
    ring_ = static_cast<void**>(memory);
    return true;
  }

  alloc::Lock lock_;
  void** ring_ = nullptr;  // lock_, and the rest likewise
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

constinit Quarantine g_quarantine;

void check_pattern(const void* object) noexcept {
  const alloc::Heap& heap = g_process.value.heap;
  const auto* const bytes = static_cast<const unsigned char*>(object);
  const auto* const end = bytes + heap.held_bytes(object);
  const auto* const changed = std::find_if(bytes, end, [](unsigned char byte) { return byte != kPattern; });
  if (changed != end) heap.report_write_to_held(object, static_cast<std::size_t>(changed - bytes));
}

}  // namespace

std::uint8_t family_of(const void* entry) noexcept {
  return alloc::options().check_mismatch ? family_of_new(entry) : std::uint8_t{0};
}

void release(alloc::ThreadCache* cache, void* object, std::uint8_t family) noexcept {
  alloc::Heap& heap = g_process.value.heap;
  const alloc::Options& options = alloc::options();
  if (options.check_mismatch) heap.check_family(object, family);
  const std::size_t bytes = heap.requested_bytes(object);
  if (options.quarantine_mib == 0) {
    if (options.zero_on_free) std::memset(object, 0, bytes);
    cache != nullptr ? heap.release(*cache, object) : heap.release(object);
    return;
  }
  heap.hold(object);
  if (alloc::Lock::is_in_lock()) return;  // a signal handler that interrupted its thread in there: held for good
  std::memset(object, kPattern, bytes);
  if (!g_quarantine.push(object, bytes)) heap.release_held(cache, object);
  while (void* const oldest = g_quarantine.pop_excess()) {
    check_pattern(oldest);
    if (options.zero_on_free) std::memset(oldest, 0, heap.held_bytes(oldest));
    heap.release_held(cache, oldest);
  }
}

void lock() noexcept { g_quarantine.lock(); }
void unlock() noexcept { g_quarantine.unlock(); }

}  // namespace arenascan::api::guard
