// threads AT_ONCE: a storm of threads that live for 200 allocations. Each frees half of its blocks, leaves the others
// behind in a bundle, and frees a bundle that an earlier thread left. The answer, for one pair, holds its share of
// starting and ending the threads and whatever the allocator does then.
#include <atomic>
#include <thread>
#include <vector>

#include "program.h"

namespace {

constexpr std::size_t kBlocks = 200;
constexpr std::size_t kBins = 16;

struct Bundle {
  void* blocks[kBlocks / 2];
};

std::atomic<Bundle*> g_left_behind[kBins];

void free_bundle(Bundle* bundle) {
  if (bundle == nullptr) return;
  for (void* block : bundle->blocks) std::free(block);
  std::free(bundle);
}

void live_shortly(std::size_t seed) {
  bench::Random random(seed);
  auto* const bundle = static_cast<Bundle*>(std::malloc(sizeof(Bundle)));
  void* mine[kBlocks / 2];
  for (std::size_t i = 0; i < kBlocks / 2; ++i) {
    mine[i] = bench::touch(16 + random.below(497));
    bundle->blocks[i] = bench::touch(16 + random.below(497));
  }
  for (void* block : mine) std::free(block);
  free_bundle(g_left_behind[random.below(kBins)].exchange(bundle, std::memory_order_acq_rel));
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  const std::size_t at_once = program.number(0, 8);
  const std::size_t bursts = program.work(3'000 / at_once, 4);
  for (std::size_t burst = 0; burst < bursts; ++burst) {
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < at_once; ++t) threads.emplace_back(live_shortly, burst * at_once + t);
    for (std::thread& thread : threads) thread.join();
  }
  for (auto& bin : g_left_behind) free_bundle(bin.exchange(nullptr));
  program.answer_ns(bursts * at_once * kBlocks, 1);
}
