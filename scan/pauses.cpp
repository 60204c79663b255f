#include "scan/pauses.h"

#include <algorithm>

#include "alloc/os.h"

namespace arenascan::scan {

using alloc::os_monotonic_ns;

namespace {

// How long the heap's lock is left to whoever waits for it, for the first time (and twice as long each time, since on a
// busy machine it may take some time until they run), and how long it is tried for after that.
constexpr std::uint64_t kPassNs = 500'000;
constexpr std::uint64_t kLongestPassNs = 64'000'000;
constexpr std::uint64_t kPatienceNs = 20'000'000;

// How many stops are called off before threads are waited for twice as long.
constexpr unsigned kStopsOfOnePatience = 4;
constexpr unsigned kMostDoubled = 10;

}  // namespace

void Pause::begin(const StopSettings& settings, World::Meanwhile meanwhile, bool (*before)(void*),
                  void* argument) noexcept {
  const std::uint64_t deadline = os_monotonic_ns() + settings.timeout_ns;
  for (unsigned attempts = 0;; ++attempts) {
    pauses_.lock();
    if (!before(argument)) return;
    const std::uint64_t now = os_monotonic_ns();
    const unsigned doubled = attempts / kStopsOfOnePatience;
    const std::uint64_t patience_ns = doubled <= kMostDoubled ? settings.patience_ns << doubled : 0;
    problem_ = pauses_.stop({settings.signal, deadline - std::min(deadline, now), patience_ns}, meanwhile, verdict_);
    is_stopped_ = problem_ == Incomplete::kNo;
    if (problem_ != Incomplete::kThreadNotStopped || os_monotonic_ns() >= deadline) return;
    pauses_.unlock();
    alloc::os_sleep_ns(kPassNs);
  }
}

Pause::~Pause() {
  if (is_stopped_) pauses_.resume(verdict_);
  pauses_.unlock();
}

void Pauses::lock() noexcept {
  if (surroundings_ != nullptr) surroundings_->threads->lock();
  user_roots_.lock();
  heap_.lock();
  is_heap_locked_ = true;
}

void Pauses::unlock() noexcept {
  if (is_heap_locked_) heap_.unlock();
  user_roots_.unlock();
  if (surroundings_ != nullptr) surroundings_->threads->unlock();
}

bool Pauses::let_pass() noexcept {
  is_heap_locked_ = false;
  heap_.unlock();
  alloc::os_sleep_ns(pass_ns_);
  pass_ns_ = std::min(2 * pass_ns_, kLongestPassNs);
  const std::uint64_t until = os_monotonic_ns() + kPatienceNs;
  while (!(is_heap_locked_ = heap_.try_lock()) && os_monotonic_ns() < until) alloc::os_sleep_ns(kPassNs / 10);
  return is_heap_locked_;
}

Incomplete Pauses::stop(StopSettings settings, World::Meanwhile meanwhile, Verdict& verdict) noexcept {
  marker_.dismiss_helpers();
  began_ns_ = os_monotonic_ns();
  if (is_alone_) return Incomplete::kNo;
  pass_ns_ = kPassNs;
  settings.let_pass = [](void* pauses) { return static_cast<Pauses*>(pauses)->let_pass(); };
  settings.argument = this;
  const World::Outcome outcome = world_.stop(settings, meanwhile);
  if (world_.stopped_at_ns() != 0) began_ns_ = world_.stopped_at_ns();
  verdict.incomplete_thread = outcome.thread;
  if (outcome.problem != Incomplete::kNo) note(verdict);  // for those that were stopped
  return outcome.problem;
}

void Pauses::resume(Verdict& verdict) noexcept {
  if (surroundings_ == nullptr) return;
  if (!is_alone_) {
    const std::uint64_t began = os_monotonic_ns();
    world_.resume();
    going_on_ns_ = std::max(kLeastGoingOnNs, mean_of(going_on_ns_, os_monotonic_ns() - began));
  }
  note(verdict);
}

void Pauses::lease_until(std::uint64_t deadline_ns) noexcept {
  if (is_alone_) return;
  is_heap_locked_ = false;
  heap_.unlock();
  World::lease().lease_until(deadline_ns + std::min(kLeaseNs, UINT64_MAX - deadline_ns));
}

bool Pauses::hold() noexcept {
  if (is_alone_) return true;
  if (!World::lease().hold()) return false;
  heap_.lock();  // which nobody has
  is_heap_locked_ = true;
  return true;
}

void Pauses::note(Verdict& verdict) const noexcept {
  const std::uint64_t called_off_at = World::lease().called_off_at_ns();
  const std::uint64_t pause = (called_off_at > began_ns_ ? called_off_at : os_monotonic_ns()) - began_ns_;
  ++verdict.pauses;
  verdict.total_pause_ns += pause;
  verdict.longest_pause_ns = std::max(verdict.longest_pause_ns, pause);
}

}  // namespace arenascan::scan
