#include "scan/errand.h"

#include <atomic>
#include <cstdint>

#include "alloc/os.h"

namespace arenascan::scan {
namespace {

// The scanner writes g_errand before kOffered (release); the handler that makes kTaken of that (acquire) reads it, and
// publishes what it did with kDone (release); the scanner reads that (acquire), and makes kDone of an offer that nobody
// has taken.
enum : std::uint32_t { kDone, kOffered, kTaken };
constinit std::atomic<std::uint32_t> g_state{kDone};
Errand g_errand{};

}  // namespace

void offer_errand(const Errand& errand) noexcept {
  g_errand = errand;
  g_state.store(kOffered, std::memory_order_release);
}

ErrandIs take_back_errand(std::uint64_t patience_ns) noexcept {
  std::uint32_t state = kOffered;
  if (g_state.compare_exchange_strong(state, kDone, std::memory_order_acquire)) return ErrandIs::kUntaken;
  const std::uint64_t began = alloc::os_monotonic_ns();
  while (g_state.load(std::memory_order_acquire) == kTaken) {
    if (alloc::os_monotonic_ns() - began >= patience_ns) return ErrandIs::kLeft;
    __builtin_ia32_pause();
  }
  return ErrandIs::kDone;
}

void await_errand() noexcept {
  constexpr std::uint64_t kRestNs = 100'000;
  while (g_state.load(std::memory_order_acquire) == kTaken) alloc::os_sleep_ns(kRestNs);
}

void do_offered_errand() noexcept {
  std::uint32_t state = kOffered;
  if (g_state.load(std::memory_order_relaxed) != kOffered ||
      !g_state.compare_exchange_strong(state, kTaken, std::memory_order_acquire, std::memory_order_relaxed)) {
    return;
  }
  g_errand.run(g_errand.argument);
  g_state.store(kDone, std::memory_order_release);
}

}  // namespace arenascan::scan
