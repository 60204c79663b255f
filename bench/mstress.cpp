// mstress THREADS: several rounds of new threads. In a round each allocates objects of random size, most of them for
// this round only, some retained for a later round's thread, some exchanged with whichever thread comes by; at its end
// it frees the round's objects in random order and the older half of what it inherited.
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "program.h"

namespace {

constexpr std::size_t kRounds = 20;
constexpr std::size_t kTransferSlots = 1024;

std::atomic<void*> g_transfer[kTransferSlots];

std::size_t random_size(bench::Random& random) {  // geometric: half below 32, one in 2,000 above 32 KiB
  std::size_t limit = 32;
  for (std::uint64_t bits = random.next() >> 32; (bits & 1) != 0 && limit < 65536; bits >>= 1) limit *= 2;
  return limit / 2 + random.below(limit / 2);
}

void play(std::vector<void*>& retained, std::size_t objects, std::size_t seed) {
  bench::Random random(seed);
  const std::size_t inherited = retained.size();
  std::vector<void*> mine;
  for (std::size_t i = 0; i < objects; ++i) {
    void* object = bench::touch(random_size(random));
    const std::size_t fate = random.below(16);
    if (fate == 0) {
      retained.push_back(object);
      continue;
    }
    if (fate < 4) {
      object = g_transfer[random.below(kTransferSlots)].exchange(object, std::memory_order_acq_rel);
      if (object == nullptr) continue;
    }
    mine.push_back(object);
    if (fate < 10) {  // some die young
      std::swap(mine[random.below(mine.size())], mine.back());
      std::free(mine.back());
      mine.pop_back();
    }
  }
  for (std::size_t left = mine.size(); left > 0; --left) {
    std::swap(mine[random.below(left)], mine[left - 1]);
    std::free(mine[left - 1]);
  }
  const auto older = retained.begin() + static_cast<std::ptrdiff_t>(inherited / 2);
  for (auto object = retained.begin(); object != older; ++object) std::free(*object);
  retained.erase(retained.begin(), older);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  const std::size_t threads = program.number(0, 2);
  const std::size_t objects = program.work(50'000);
  std::vector<std::vector<void*>> retained(threads);
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<std::thread> players;
    for (std::size_t t = 0; t < threads; ++t) {  // what a thread retains goes to its neighbour in the next round
      players.emplace_back(play, std::ref(retained[(t + round) % threads]), objects, round * threads + t);
    }
    for (std::thread& player : players) player.join();
  }
  for (const std::vector<void*>& objects_left : retained) {
    for (void* object : objects_left) std::free(object);
  }
  for (auto& slot : g_transfer) std::free(slot.exchange(nullptr));
  program.answer_ns(objects * kRounds, threads);
}
