// churn THREADS WINDOW: nanoseconds for an allocation and a free, replacing random objects of mixed sizes in a window
// of live ones; one free in 16 is another thread's. The allocator is whatever is preloaded.
#include <atomic>
#include <thread>
#include <vector>

#include "program.h"

namespace {

constexpr std::size_t kExchangeSlots = 256;

std::atomic<void*> g_exchange[kExchangeSlots];

std::uint64_t next(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

std::size_t random_size(std::uint64_t random) {  // most are small
  const unsigned kind = random & 63;
  const std::size_t rest = random >> 32;
  if (kind < 48) return 16 + rest % 240;
  if (kind < 62) return 256 + rest % 1792;
  return 2048 + rest % 14336;
}

void churn(std::size_t pairs, std::size_t window, std::uint64_t seed) {
  std::vector<void*> live(window);
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::uint64_t random = next(seed);
    void*& slot = live[random % window];
    void* old = slot;
    slot = std::malloc(random_size(next(seed)));
    *static_cast<volatile char*>(slot) = 1;
    if (random >> 60 == 0) old = g_exchange[(random >> 40) % kExchangeSlots].exchange(old, std::memory_order_acq_rel);
    std::free(old);
  }
  for (void* object : live) std::free(object);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  const std::size_t threads = program.number(0, 1);
  const std::size_t window = program.number(1, 1000);
  const std::size_t pairs = program.work(4'000'000);
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < threads; ++t) workers.emplace_back(churn, pairs, window, 88172645463325252 + t);
  for (std::thread& worker : workers) worker.join();
  program.answer_ns(pairs, threads);
  for (auto& slot : g_exchange) std::free(slot.exchange(nullptr));
}
