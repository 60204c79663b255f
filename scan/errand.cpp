#include "scan/errand.h"

#include <atomic>
#include <cstdint>

#include "alloc/os.h"

namespace arenascan::scan {
namespace {

// The scanner writes g_errand before kOffered (release); the handler that makes kTaken of that (acquire) reads it, and
// publishes what it did with kDone (release); the scanner reads that (acquire), and makes kNone of it, or of an offer
// that nobody has taken.
enum : std::uint32_t { kNone, kOffered, kTaken, kDone };
constinit std::atomic<std::uint32_t> g_state{kNone};
Errand g_errand{};

}  // namespace

void offer_errand(const Errand& errand) noexcept {
  g_errand = errand;
  g_state.store(kOffered, std::memory_order_release);
}

bool take_back_errand() noexcept {
  std::uint32_t state = kOffered;
  if (g_state.compare_exchange_strong(state, kNone, std::memory_order_acquire)) return true;
  for (unsigned spins = 1; g_state.load(std::memory_order_acquire) != kDone; ++spins) {
    if (spins % 1024 == 0) alloc::os_yield();
    __builtin_ia32_pause();
  }
  g_state.store(kNone, std::memory_order_relaxed);
  return false;
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
