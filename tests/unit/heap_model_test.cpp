// The heap against a model that knows every live block: no overlap, alignment, sizes, contents kept, structures valid.
// ARENA_MODEL_STEPS sets the number of steps.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <vector>

#include "alloc/heap.h"
#include "tests/unit/random.h"

using namespace arenascan;
using test::Random;

namespace {

struct Block {
  std::size_t bytes;
  unsigned char fill;
};

class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed) {
    REQUIRE(heap_.init(std::size_t{4} << 30));
    for (alloc::ThreadCache*& cache : caches_) REQUIRE((cache = heap_.acquire_cache()) != nullptr);
  }
  ~Model() { heap_.destroy(); }

  void step() {
    const std::uint64_t what = random_.below(100);
    if (blocks_.empty() || (what < 48 && live_bytes_ < kMaxLiveBytes)) {
      allocate();
    } else if (what < 90) {
      release(random_block());
    } else if (what < 98) {
      resize(random_block());
    } else if (random_.one_in(50)) {
      const std::size_t which = random_.below(std::size(caches_));  // a thread ends, another begins
      heap_.release_cache(*caches_[which]);
      caches_[which] = heap_.acquire_cache();
    }
  }

  void check_everything() {
    REQUIRE(heap_.is_valid());
    for (const auto& [address, block] : blocks_) check(address, block);
  }

  void release_all() {
    while (!blocks_.empty()) release(blocks_.begin());
    for (alloc::ThreadCache*& cache : caches_) {
      heap_.release_cache(*cache);
      cache = nullptr;
    }
    for (alloc::ThreadCache*& cache : caches_) {  // taking over and giving back drains what other caches were owed
      cache = heap_.acquire_cache();
    }
    for (alloc::ThreadCache* cache : caches_) heap_.release_cache(*cache);
    REQUIRE(heap_.is_valid());
    CHECK(heap_.taken_bytes() == 0);
  }

 private:
  using Blocks = std::map<std::uintptr_t, Block>;
  static constexpr std::size_t kMaxLiveBytes = std::size_t{256} << 20;
  static constexpr std::size_t kEdge = 256;  // large blocks are filled and checked at their ends

  std::size_t random_size() {
    const std::uint64_t kind = random_.below(100);
    if (kind < 70) return random_.below(257);
    if (kind < 90) return random_.below(4097);
    if (kind < 98) return random_.below(140'000);
    return random_.below(3'000'000);
  }

  alloc::ThreadCache& random_cache() { return *caches_[random_.below(std::size(caches_))]; }

  Blocks::iterator random_block() {
    const auto keys = blocks_.lower_bound(random_.next() % (highest_ + 1 - lowest_) + lowest_);
    return keys == blocks_.end() ? blocks_.begin() : keys;
  }

  void allocate() {
    const std::size_t bytes = random_size();
    const std::size_t alignment = random_.one_in(10) ? std::size_t{1} << (4 + random_.below(15)) : 16;
    const alloc::Birth birth = heap_.birth(static_cast<std::uint32_t>(bytes));
    void* const p = alignment == 16 && random_.one_in(2)
                        ? heap_.allocate(random_cache(), bytes, birth)
                        : heap_.allocate_slow(random_cache(), bytes, alignment, birth, 0).object;
    REQUIRE(p != nullptr);
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    REQUIRE(address % alignment == 0);
    add(address, bytes);
  }

  void add(std::uintptr_t address, std::size_t bytes) {
    const auto [at, is_new] = blocks_.emplace(address, Block{bytes, static_cast<unsigned char>(random_.next())});
    REQUIRE(is_new);
    if (at != blocks_.begin()) {
      const auto before = std::prev(at);
      REQUIRE(before->first + std::max<std::size_t>(before->second.bytes, 1) <= address);
    }
    const auto after = std::next(at);
    if (after != blocks_.end()) REQUIRE(address + std::max<std::size_t>(bytes, 1) <= after->first);
    live_bytes_ += bytes;
    lowest_ = std::min(lowest_, address);
    highest_ = std::max(highest_, address);
    fill(address, at->second);
  }

  static void fill(std::uintptr_t address, const Block& block) {
    auto* const bytes = reinterpret_cast<unsigned char*>(address);
    std::memset(bytes, block.fill, std::min(block.bytes, kEdge));
    if (block.bytes > kEdge) std::memset(bytes + block.bytes - kEdge, block.fill, kEdge);
  }

  void check(std::uintptr_t address, const Block& block) {
    const auto* const bytes = reinterpret_cast<const unsigned char*>(address);
    REQUIRE(heap_.requested_bytes(bytes) == block.bytes);
    const auto is_fill = [&block](unsigned char c) { return c == block.fill; };
    REQUIRE(std::all_of(bytes, bytes + std::min(block.bytes, kEdge), is_fill));
    if (block.bytes > kEdge) REQUIRE(std::all_of(bytes + block.bytes - kEdge, bytes + block.bytes, is_fill));
  }

  void release(Blocks::iterator block) {
    check(block->first, block->second);
    void* const p = reinterpret_cast<void*>(block->first);
    live_bytes_ -= block->second.bytes;
    blocks_.erase(block);
    if (random_.one_in(20)) {
      heap_.release(p);  // by a thread without a cache
    } else {
      heap_.release(random_cache(), p);
    }
  }

  void resize(Blocks::iterator block) {
    check(block->first, block->second);
    const std::size_t bytes =
        std::max<std::size_t>(1, random_.one_in(2) ? random_size() : block->second.bytes + random_.below(64));
    if (!heap_.resize_in_place(reinterpret_cast<void*>(block->first), bytes, 0)) return;
    const std::uintptr_t address = block->first;
    live_bytes_ -= block->second.bytes;
    blocks_.erase(block);
    add(address, bytes);
  }

  Random random_;
  alloc::Heap heap_;
  alloc::ThreadCache* caches_[4] = {};
  Blocks blocks_;
  std::size_t live_bytes_ = 0;
  std::uintptr_t lowest_ = UINTPTR_MAX;
  std::uintptr_t highest_ = 0;
};

}  // namespace

TEST_CASE("random allocation, release and resizing agree with the model") {
  const std::uint64_t steps = test::length_from("ARENA_MODEL_STEPS", 400'000);
  constexpr std::uint64_t kStepsEach = 200'000;
  for (std::uint64_t done = 0, seed = 1; done < steps; done += kStepsEach, ++seed) {
    CAPTURE(seed);
    Model model(seed);
    for (std::uint64_t i = 0; i < std::min(kStepsEach, steps - done); ++i) {
      model.step();
      if (i % 20'000 == 0) model.check_everything();
    }
    model.check_everything();
    model.release_all();
  }
  MESSAGE("steps: ", steps);
}
