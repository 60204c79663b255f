#include "fuzz/schedule.h"

#include <algorithm>

#include "alloc/atomic.h"
#include "fuzz/require.h"

namespace arenascan::fuzz {

#if defined(ARENASCAN_INTERLEAVE)

namespace {

constexpr std::uint64_t kOneIn = 6;  // operations end a turn
constexpr std::size_t kNobody = Schedule::kThreads;

thread_local std::size_t t_thread = kNobody;
Schedule* g_schedule = nullptr;

}  // namespace

void Schedule::begin(std::uint64_t seed, const std::array<bool, kThreads>& takes_part) {
  const std::scoped_lock lock(mutex_);
  g_schedule = this;
  alloc::g_interleave = on_atomic;
  state_ = seed;
  active_ = takes_part;
  turn_ = another(kNobody);
}

void Schedule::enter(std::size_t thread) {
  std::unique_lock lock(mutex_);
  t_thread = thread;
  changed_.wait(lock, [&] { return turn_ == thread; });
}

void Schedule::leave() {
  const std::scoped_lock lock(mutex_);
  active_[t_thread] = false;
  t_thread = kNobody;
  turn_ = another(kNobody);
  changed_.notify_all();
}

void Schedule::on_atomic(bool waits) {
  if (t_thread != kNobody) g_schedule->pass_on(waits);
}

void Schedule::pass_on(bool waits) {
  std::unique_lock lock(mutex_);
  if (!waits && random() % kOneIn != 0) return;
  const std::size_t next = another(t_thread);
  require(next != kNobody || !waits);  // it waits for nobody
  if (next == kNobody) return;
  turn_ = next;
  changed_.notify_all();
  changed_.wait(lock, [&] { return turn_ == t_thread; });
}

// The generator is splitmix64.
std::uint64_t Schedule::random() {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

std::size_t Schedule::another(std::size_t than) {
  std::array<std::size_t, kThreads> others;
  std::size_t count = 0;
  for (std::size_t i = 0; i < kThreads; ++i) {
    if (active_[i] && i != than) others[count++] = i;
  }
  return count == 0 ? kNobody : others[random() % count];
}

#else

void Schedule::begin(std::uint64_t, const std::array<bool, kThreads>&) {}
void Schedule::enter(std::size_t) {}
void Schedule::leave() {}

#endif

}  // namespace arenascan::fuzz
