// Several threads on one heap: blocks freed by others than their allocators, threads that end and begin, all at once.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "alloc/heap.h"
#include "alloc/heap_view.h"
#include "tests/unit/random.h"

using namespace arenascan;
using test::Random;

namespace {

constexpr std::size_t kThreads = 4;
constexpr std::size_t kMailboxes = 64;

struct Mail {
  std::size_t bytes;
  unsigned char fill;
};

// Blocks on their way from one thread to another.
using Mailboxes = std::array<std::atomic<Mail*>, kMailboxes>;

void check_and_release(alloc::Heap& heap, alloc::ThreadCache& cache, Mail* mail, std::atomic<int>& damaged) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(mail);
  for (std::size_t i = sizeof(Mail); i < mail->bytes; ++i) {
    if (bytes[i] != mail->fill) ++damaged;
  }
  if (heap.requested_bytes(mail) != mail->bytes) ++damaged;
  heap.release(cache, mail);
}

void work(alloc::Heap& heap, Mailboxes& boxes, std::uint64_t seed, int rounds, std::atomic<int>& damaged) {
  Random random(seed);
  alloc::ThreadCache* const cache = heap.acquire_cache();
  for (int i = 0; i < rounds; ++i) {
    const std::size_t bytes = sizeof(Mail) + (random.one_in(50) ? random.below(200'000) : random.below(400));
    auto* const mail = static_cast<Mail*>(heap.allocate(*cache, bytes, heap.birth(0)));
    *mail = {bytes, static_cast<unsigned char>(seed)};
    std::memset(reinterpret_cast<unsigned char*>(mail) + sizeof(Mail), mail->fill, bytes - sizeof(Mail));
    Mail* const received = boxes[random.below(kMailboxes)].exchange(mail, std::memory_order_acq_rel);
    if (received != nullptr) check_and_release(heap, *cache, received, damaged);
  }
  heap.release_cache(*cache);
}

std::size_t count_live(alloc::Heap& heap) {
  std::size_t live = 0;
  alloc::HeapView view(heap);
  view.lock();
  view.for_each_page_locked([&live](alloc::Page& page) {
    for (std::uint32_t i = 0; i < page.capacity; ++i) live += alloc::state::is_allocated(page.states()[i]) ? 1 : 0;
  });
  view.unlock();
  return live;
}

}  // namespace

TEST_CASE("blocks freed by other threads come back whole, and nothing is lost") {
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{4} << 30));
  Mailboxes boxes{};
  std::atomic<int> damaged{0};
  for (std::uint64_t generation = 0; generation < 6; ++generation) {  // later threads take over earlier ones' caches
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] { work(heap, boxes, generation * kThreads + t + 1, 8'000, damaged); });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(damaged == 0);
    REQUIRE(heap.is_valid());
    std::size_t in_boxes = 0;
    for (const auto& box : boxes) in_boxes += box.load() != nullptr ? 1 : 0;
    REQUIRE(count_live(heap) == in_boxes);
  }
  CHECK(heap.taken_bytes() < std::size_t{64} << 20);
  alloc::ThreadCache* const cache = heap.acquire_cache();
  for (auto& box : boxes) {
    if (Mail* const mail = box.exchange(nullptr)) check_and_release(heap, *cache, mail, damaged);
  }
  CHECK(count_live(heap) == 0);
  heap.destroy();
}

TEST_CASE("a page that changes hands while frees into it are under way loses none of them") {
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 30));
  constexpr std::size_t kBlocks = 5'000;
  for (int round = 0; round < 20; ++round) {
    std::vector<void*> blocks(kBlocks);
    std::thread([&] {
      alloc::ThreadCache* const cache = heap.acquire_cache();
      for (void*& block : blocks) block = heap.allocate(*cache, 48, heap.birth(0));
      heap.release_cache(*cache);
    }).join();
    std::thread freeing([&] {
      for (std::size_t i = 0; i < kBlocks; i += 2) heap.release(blocks[i]);  // a thread without a cache
    });
    std::thread taking_over([&] {
      alloc::ThreadCache* const cache = heap.acquire_cache();
      alloc::ThreadCache* const other = heap.acquire_cache();
      for (std::size_t i = 1; i < kBlocks; i += 2) heap.release(i % 3 == 0 ? *cache : *other, blocks[i]);
      heap.release_cache(*other);
      heap.release_cache(*cache);
    });
    freeing.join();
    taking_over.join();
    REQUIRE(count_live(heap) == 0);
    REQUIRE(heap.is_valid());
  }
  heap.destroy();
}

TEST_CASE("what was held back is freed with a thread's cache and without one") {
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 28));
  alloc::ThreadCache* const cache = heap.acquire_cache();
  for (const std::size_t bytes : {std::size_t{48}, std::size_t{1} << 20}) {
    for (alloc::ThreadCache* const frees : {cache, static_cast<alloc::ThreadCache*>(nullptr)}) {
      void* const object = heap.allocate(*cache, bytes, heap.birth(0));
      REQUIRE(object != nullptr);
      CHECK(count_live(heap) == 1);
      heap.hold(object);
      CHECK(count_live(heap) == 0);
      CHECK(heap.held_bytes(object) == bytes);
      heap.release_held(frees, object);
      CHECK(count_live(heap) == 0);
    }
  }
  heap.release_cache(*cache);
  heap.release_cache(*heap.acquire_cache());  // hears of frees that were on their way
  CHECK(heap.taken_bytes() == 0);
  heap.destroy();
}
