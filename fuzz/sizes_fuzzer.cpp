// Bytes as requests for memory of any size and alignment, the impossible ones among them, some frees, and changes of
// size: the class is the smallest that serves, and what the heap hands out is aligned, as long as asked for, apart from
// the rest, zero where it is said to be, and reads and writes as memory. What lies in a slot is given the sizes at the
// edges of those that may stay there. (tests/unit/size_class_test.cpp goes through all sizes that have a class.)
#include <algorithm>
#include <cstring>
#include <vector>

#include "alloc/heap.h"
#include "alloc/size_class.h"
#include "fuzz/require.h"

using namespace arenascan;
using fuzz::require;

namespace {

constexpr std::size_t kReserveBytes = std::size_t{256} << 20;
constexpr std::size_t kMostTouched = 4096;  // bytes written at each end

// Nine bytes. Small sizes are as likely as those with all bits. One in eight frees, one in sixteen changes a size.
struct Request {
  std::uint64_t bits;
  std::uint8_t shape;

  [[nodiscard]] bool is_free() const { return shape >= 224; }
  [[nodiscard]] bool is_resize() const { return shape >= 208 && shape < 224; }
  [[nodiscard]] std::size_t bytes() const { return bits >> (shape & 63); }
  [[nodiscard]] std::size_t alignment() const { return std::size_t{1} << (bits % 64 % (shape < 128 ? 5 : 40)); }
};

struct Block {
  std::uintptr_t begin;
  std::size_t bytes;
  std::uint8_t fill;
};

void check_class(std::size_t bytes, std::size_t alignment) {
  const unsigned found = alloc::class_of_aligned(bytes, alignment);
  if (found == alloc::kLargeClass) return;
  require(alloc::slot_bytes(found) >= bytes && alloc::slot_bytes(found) % alignment == 0);
  for (unsigned c = 0; c < found; ++c) {
    require(alloc::slot_bytes(c) < bytes || alloc::slot_bytes(c) % alignment != 0);
  }
}

template <typename Visit>
void for_each_touched(const Block& block, Visit&& visit) {
  auto* const begin = reinterpret_cast<std::uint8_t*>(block.begin);
  const std::size_t count = std::min(block.bytes, kMostTouched);
  visit(begin, count);
  visit(begin + block.bytes - count, count);
}

bool is_all(const std::uint8_t* from, std::size_t count, std::uint8_t wanted) {
  return std::all_of(from, from + count, [wanted](std::uint8_t byte) { return byte == wanted; });
}

void fill(const Block& block) {
  for_each_touched(block, [&](std::uint8_t* from, std::size_t count) { std::memset(from, block.fill, count); });
}

void check_contents(const Block& block) {
  for_each_touched(block,
                   [&](const std::uint8_t* from, std::size_t count) { require(is_all(from, count, block.fill)); });
}

void check_apart(const Block& block, const Block& other) {
  require(block.begin + std::max<std::size_t>(block.bytes, 1) <= other.begin ||
          other.begin + std::max<std::size_t>(other.bytes, 1) <= block.begin);
}

void check_and_release(alloc::Heap& heap, alloc::ThreadCache& cache, const Block& block) {
  check_contents(block);
  heap.release(cache, reinterpret_cast<void*>(block.begin));
}

bool resize(alloc::Heap& heap, Block& block, std::size_t bytes) {
  void* const p = reinterpret_cast<void*>(block.begin);
  check_contents(block);
  const bool is_resized = heap.resize_in_place(p, bytes, 0);
  const std::size_t kept = std::min({block.bytes, bytes, kMostTouched});
  if (is_resized) block.bytes = bytes;
  require(heap.requested_bytes(p) == block.bytes);
  require(is_all(static_cast<const std::uint8_t*>(p), kept, block.fill));
  if (is_resized) fill(block);
  check_contents(block);
  return is_resized;
}

// `room`: the bytes of its slot, or of its pages, which may become more.
void resize_to_edges(alloc::Heap& heap, Block& block, std::size_t room, bool may_grow) {
  for (const std::size_t bytes : {room / 2 - 1, room / 2, room / 2 + 1, room - 1, room}) resize(heap, block, bytes);
  require(!resize(heap, block, room + 1) || may_grow);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  alloc::Heap heap;
  require(heap.init(kReserveBytes));
  alloc::ThreadCache* const cache = heap.acquire_cache();
  require(cache != nullptr);
  std::vector<Block> blocks;
  std::uint8_t next_fill = 1;
  for (constexpr std::size_t kBytes = 9; size >= kBytes; data += kBytes, size -= kBytes) {
    Request request{};
    std::memcpy(&request.bits, data, sizeof(request.bits));
    request.shape = data[8];
    if (request.is_free()) {
      if (blocks.empty()) continue;
      const auto block = blocks.begin() + static_cast<std::ptrdiff_t>(request.bits % blocks.size());
      check_and_release(heap, *cache, *block);
      blocks.erase(block);
      continue;
    }
    if (request.is_resize()) {
      if (blocks.empty()) continue;
      Block& block = blocks[request.bits % blocks.size()];
      resize(heap, block, block.bytes / 2 + (request.bits >> 8) % (2 * block.bytes + 1));
      for (const Block& other : blocks) {
        if (&other != &block) check_apart(block, other);
      }
      continue;
    }
    const std::size_t bytes = request.bytes();
    const std::size_t alignment = std::max(request.alignment(), alloc::kGranuleBytes);
    check_class(bytes, alignment);
    const alloc::Heap::Allocation given = heap.allocate_slow(*cache, bytes, alignment, heap.birth(0), 0);
    void* const p = given.object;
    require(p != nullptr || bytes >= kReserveBytes / 8 || alignment > alloc::kPageBytes || !blocks.empty());
    if (p == nullptr) continue;
    Block block{reinterpret_cast<std::uintptr_t>(p), bytes, next_fill++};
    require(block.begin % alignment == 0);
    require(heap.requested_bytes(p) == bytes);
    const auto check_place = [&] {
      for (const Block& other : blocks) check_apart(block, other);
    };
    check_place();
    for_each_touched(block,
                     [&](std::uint8_t* from, std::size_t count) { require(!given.zeroed || is_all(from, count, 0)); });
    fill(block);
    const unsigned found = alloc::class_of_aligned(bytes, alignment);
    const bool is_large = found == alloc::kLargeClass;
    const std::size_t pages = (bytes + alloc::kPageBytes - 1) / alloc::kPageBytes;
    resize_to_edges(heap, block, is_large ? pages * alloc::kPageBytes : alloc::slot_bytes(found), is_large);
    check_place();
    blocks.push_back(block);
  }
  for (const Block& block : blocks) check_and_release(heap, *cache, block);
  require(heap.is_valid());
  heap.destroy();
  return 0;
}
