// xmalloc PAIRS_OF_THREADS: all blocks are allocated by producers and freed by consumers, which are other threads. They
// travel in batches through a bounded queue, so that the queue costs little for a block.
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "program.h"

namespace {

constexpr std::size_t kBatchBlocks = 256;
constexpr std::size_t kQueueBatches = 16;

struct Batch {
  void* blocks[kBatchBlocks];
};

class Queue {
 public:
  void push(Batch* batch) {
    std::unique_lock lock(mutex_);
    space_.wait(lock, [this] { return count_ < kQueueBatches; });
    batches_[(first_ + count_++) % kQueueBatches] = batch;
    filled_.notify_one();
  }
  Batch* pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [this] { return count_ > 0; });
    Batch* const batch = batches_[first_];
    first_ = (first_ + 1) % kQueueBatches;
    --count_;
    space_.notify_one();
    return batch;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable space_;
  Batch* batches_[kQueueBatches] = {};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

Queue g_queue;

void produce(std::size_t batches, std::size_t seed) {
  bench::Random random(seed);
  for (std::size_t i = 0; i < batches; ++i) {
    auto* const batch = static_cast<Batch*>(std::malloc(sizeof(Batch)));
    for (void*& block : batch->blocks) block = bench::touch(16 + random.below(241));
    g_queue.push(batch);
  }
}

void consume(std::size_t batches) {
  for (std::size_t i = 0; i < batches; ++i) {
    Batch* const batch = g_queue.pop();
    for (void* block : batch->blocks) std::free(block);
    std::free(batch);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  const std::size_t pairs_of_threads = program.number(0, 1);
  const std::size_t batches = program.work(10'000);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < pairs_of_threads; ++t) {
    threads.emplace_back(produce, batches, t);
    threads.emplace_back(consume, batches);
  }
  for (std::thread& thread : threads) thread.join();
  program.answer_ns(batches * kBatchBlocks, pairs_of_threads);
}
