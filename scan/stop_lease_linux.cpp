#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "alloc/os.h"
#include "scan/stop_lease.h"

namespace arenascan::scan {
namespace {

constexpr std::uint64_t kLookNs = 500'000;

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) noexcept {
  syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

}  // namespace

bool StopLease::change(std::uint32_t& generation, std::uint32_t stop, std::uint32_t state) noexcept {
  return generation_.compare_exchange_strong(generation, stop * kStates + state, std::memory_order_acq_rel);
}

void StopLease::wake_all() noexcept { futex(generation_, FUTEX_WAKE, INT32_MAX, nullptr); }

std::uint32_t StopLease::begin() noexcept {
  ends_ns_.store(UINT64_MAX, std::memory_order_relaxed);
  const std::uint32_t stop = stop_of(generation_.load(std::memory_order_relaxed));
  generation_.store(stop * kStates + kLeased, std::memory_order_release);
  return stop;
}

void StopLease::lease_until(std::uint64_t ns) noexcept {
  ends_ns_.store(ns, std::memory_order_relaxed);
  const std::uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (state_of(generation) != kHeld) return;
  generation_.store(stop_of(generation) * kStates + kLeased, std::memory_order_release);
}

bool StopLease::hold() noexcept {
  std::uint32_t generation = generation_.load(std::memory_order_relaxed);
  return state_of(generation) == kHeld ||
         (state_of(generation) == kLeased && change(generation, stop_of(generation), kHeld));
}

void StopLease::end() noexcept {
  std::uint32_t generation = generation_.load(std::memory_order_relaxed);
  while (state_of(generation) != kRunning && !change(generation, stop_of(generation) + 1, kRunning)) {
  }
  wake_all();  // who has called it off may have lost its processor before that
}

bool StopLease::is_over() const noexcept { return state_of(generation_.load(std::memory_order_relaxed)) == kRunning; }

std::uint64_t StopLease::called_off_at_ns() const noexcept { return called_off_at_ns_.load(std::memory_order_relaxed); }

bool StopLease::lasts(std::uint32_t stop) const noexcept {
  const std::uint32_t generation = generation_.load(std::memory_order_acquire);
  return stop_of(generation) == stop && state_of(generation) != kRunning;
}

void StopLease::call_off_late(std::uint32_t stop, std::uint64_t now_ns) noexcept {
  std::uint32_t generation = stop * kStates + kLeased;
  if (generation_.load(std::memory_order_acquire) != generation) return;
  if (now_ns < ends_ns_.load(std::memory_order_relaxed) || !change(generation, stop + 1, kRunning)) return;
  called_off_at_ns_.store(now_ns, std::memory_order_relaxed);
  wake_all();
}

void StopLease::sleep(std::uint32_t stop, bool looks_after) noexcept {
  const std::uint32_t generation = generation_.load(std::memory_order_acquire);
  if (stop_of(generation) != stop) return;
  const std::uint64_t now = alloc::os_monotonic_ns();
  const std::uint64_t ends = ends_ns_.load(std::memory_order_relaxed);
  const timespec slice{0, static_cast<long>(ends > now ? std::min(ends - now, kLookNs) : kLookNs)};
  futex(generation_, FUTEX_WAIT, generation, looks_after ? &slice : nullptr);
}

}  // namespace arenascan::scan
