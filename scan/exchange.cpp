#include "scan/exchange.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "alloc/os.h"

namespace arenascan::scan {

namespace {

// A lane that has waited so long would be of more use if it left the work to one.
constexpr std::uint64_t kScarceNs = 100'000;
constexpr std::uint64_t kSpinNs = 5'000;  // before others may have the processor

}  // namespace

bool Exchange::begin(std::size_t lanes) noexcept {
  const std::size_t wanted = lanes * lanes;
  if (wanted > ring_count_) {
    if (!memory_.reserve(wanted * sizeof(Ring) + kLineBytes)) return false;
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.begin());
    rings_ = reinterpret_cast<Ring*>((address + kLineBytes - 1) & ~(kLineBytes - 1));
    ring_count_ = wanted;
  }
  lanes_ = lanes;
  for (std::size_t i = 0; i < wanted; ++i) {
    new (&rings_[i].head) std::atomic<std::size_t>(0);
    new (&rings_[i].tail) std::atomic<std::size_t>(0);
  }
  parked_.store(0, std::memory_order_relaxed);
  ended_.store(false, std::memory_order_relaxed);
  return true;
}

std::size_t Exchange::send(std::size_t from, std::size_t to, const std::uintptr_t* words, std::size_t count) noexcept {
  Ring& mail = ring(from, to);
  const std::size_t tail = mail.tail.load(std::memory_order_relaxed);
  const std::size_t room = kRingWords - (tail - mail.head.load(std::memory_order_acquire));
  const std::size_t sent = std::min(room, count);
  const std::size_t at = tail % kRingWords;
  const std::size_t first = std::min(sent, kRingWords - at);
  std::memcpy(mail.words + at, words, first * sizeof(*words));
  std::memcpy(mail.words, words + first, (sent - first) * sizeof(*words));
  mail.tail.store(tail + sent, std::memory_order_release);
  return sent;
}

bool Exchange::has_mail(std::size_t to) const noexcept {
  for (std::size_t from = 0; from < lanes_; ++from) {
    const Ring& mail = ring(from, to);
    if (mail.head.load(std::memory_order_relaxed) != mail.tail.load(std::memory_order_acquire)) return true;
  }
  return false;
}

bool Exchange::all_empty() const noexcept {
  for (std::size_t i = 0; i < lanes_ * lanes_; ++i) {
    if (rings_[i].head.load(std::memory_order_acquire) != rings_[i].tail.load(std::memory_order_acquire)) return false;
  }
  return true;
}

bool Exchange::park(std::size_t self, const Until* until) noexcept {
  const std::uint64_t began = alloc::os_monotonic_ns();
  parked_.fetch_add(1, std::memory_order_acq_rel);
  while (!has_ended()) {
    if (has_mail(self)) {
      parked_.fetch_add(kUnparked - 1, std::memory_order_acq_rel);
      return true;
    }
    const std::uint64_t before = parked_.load(std::memory_order_acquire);
    const bool all_parked = static_cast<std::uint32_t>(before) == lanes_;
    if (all_parked && all_empty() && parked_.load(std::memory_order_acquire) == before) end();
    const std::uint64_t now = alloc::os_monotonic_ns();
    if (now - began >= kScarceNs || (until != nullptr && (*until)())) end();
    if (now - began < kSpinNs) {
      __builtin_ia32_pause();
    } else {
      alloc::os_yield();
    }
  }
  return false;
}

}  // namespace arenascan::scan
