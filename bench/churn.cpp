// churn THREADS WINDOW: nanoseconds for an allocation and a free, replacing random objects of mixed sizes in a window
// of live ones; one free in 16 is another thread's. The allocator is whatever is preloaded.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kPairsEach = 4'000'000;
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

void churn(std::size_t window, std::uint64_t seed) {
  std::vector<void*> live(window);
  for (std::size_t i = 0; i < kPairsEach; ++i) {
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
  const std::size_t threads = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1;
  const std::size_t window = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1000;
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < threads; ++t) workers.emplace_back(churn, window, 88172645463325252 + t);
  for (std::thread& worker : workers) worker.join();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
  std::printf("%.1f\n", took.count() / static_cast<double>(kPairsEach));
  for (auto& slot : g_exchange) std::free(slot.exchange(nullptr));
}
