// larson LANES WINDOW: a server whose threads hand over. In each lane a thread replaces random blocks of a window, then
// starts its successor, gives it the live blocks and ends; so a block is mostly freed by a thread which did not
// allocate it, after the one that did has gone.
#include <latch>
#include <thread>
#include <utility>
#include <vector>

#include "program.h"

namespace {

constexpr std::size_t kPairsOfGeneration = 20'000;

struct Lane {
  std::vector<void*> live;
  bench::Random random;
  std::latch* finished;
};

void serve(Lane lane, std::size_t successors) {
  for (std::size_t i = 0; i < kPairsOfGeneration; ++i) {
    void*& block = lane.live[lane.random.below(lane.live.size())];
    std::free(block);
    block = bench::touch(16 + lane.random.below(497));
  }
  if (successors > 0) {
    std::thread(serve, std::move(lane), successors - 1).detach();
    return;
  }
  for (void* block : lane.live) std::free(block);
  lane.finished->count_down();
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  const std::size_t lanes = program.number(0, 2);
  const std::size_t window = program.number(1, 1000);
  const std::size_t generations = program.work(100, 2);
  std::latch finished(static_cast<std::ptrdiff_t>(lanes));
  for (std::size_t l = 0; l < lanes; ++l) {
    std::thread(serve, Lane{std::vector<void*>(window), bench::Random(l), &finished}, generations - 1).detach();
  }
  finished.wait();
  program.answer_ns(generations * kPairsOfGeneration, lanes);
}
