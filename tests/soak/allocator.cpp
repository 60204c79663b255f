// allocator [SECONDS]: everything at once. Threads allocate sizes up to 8 MiB, write them full, hand them to each
// other, check and free them, end and are replaced; scans and forks come in between. Contents must keep, nothing
// reachable may be reported, memory must not grow beyond what is live. Prints what it did.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

constexpr std::size_t kThreads = 8;
constexpr std::size_t kBoxes = 512;
constexpr std::size_t kLargest = std::size_t{8} << 20;
constexpr std::size_t kLiveBudget = std::size_t{256} << 20;  // bytes in boxes, about

struct Block {
  std::size_t bytes;
  std::uint64_t seed;
};

std::array<std::atomic<Block*>, kBoxes> g_boxes;
std::atomic<std::size_t> g_live_bytes{0};
std::atomic<std::uint64_t> g_blocks{0};
std::atomic<std::uint64_t> g_damaged{0};
std::atomic<bool> g_end{false};

std::uint64_t next(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

std::size_t random_size(std::uint64_t random) {
  const std::size_t rest = random >> 20;
  switch (random & 255) {
    case 0: return sizeof(Block) + rest % kLargest;
    case 1:
    case 2:
    case 3: return sizeof(Block) + rest % 300'000;
    default: return sizeof(Block) + rest % ((random & 15) == 0 ? 20'000 : 500);
  }
}

// The first bytes and one in each OS page, so that large blocks do not take all the time.
template <typename Visit>
void for_each_checked(Block* block, Visit&& visit) {
  auto* const bytes = reinterpret_cast<unsigned char*>(block);
  for (std::size_t i = sizeof(Block); i < block->bytes; i += i < 256 ? 1 : 509) {
    visit(bytes[i], static_cast<unsigned char>(block->seed + i));
  }
  if (block->bytes > sizeof(Block)) {
    visit(bytes[block->bytes - 1], static_cast<unsigned char>(block->seed + block->bytes - 1));
  }
}

Block* make(std::uint64_t& random) {
  const std::size_t bytes = random_size(next(random));
  void* memory = nullptr;
  switch (next(random) % 4) {
    case 0: memory = std::calloc(1, bytes); break;
    case 1: memory = std::aligned_alloc(64, (bytes + 63) & ~std::size_t{63}); break;
    default: memory = std::malloc(bytes); break;
  }
  if (memory == nullptr) std::abort();
  auto* const block = new (memory) Block{bytes, next(random)};
  for_each_checked(block, [](unsigned char& byte, unsigned char value) { byte = value; });
  g_live_bytes += bytes;
  ++g_blocks;
  return block;
}

void check(Block* block) {
  for_each_checked(block, [](unsigned char& byte, unsigned char value) { g_damaged += byte == value ? 0 : 1; });
}

void check_and_free(Block* block) {
  if (block == nullptr) return;
  check(block);
  g_live_bytes -= block->bytes;
  std::free(block);
}

Block* grow(Block* block, std::uint64_t& random) {
  const std::size_t bytes = random_size(next(random));
  const std::size_t old_bytes = block->bytes;
  block = static_cast<Block*>(std::realloc(block, bytes));
  if (block == nullptr) std::abort();
  block->bytes = std::min(bytes, old_bytes);
  g_live_bytes += bytes - old_bytes;
  // Every byte was written only where it is checked; what is new or was skipped is written now.
  auto* const contents = reinterpret_cast<unsigned char*>(block);
  for (std::size_t i = sizeof(Block); i < block->bytes; i += i < 256 ? 1 : 509) {
    g_damaged += contents[i] == static_cast<unsigned char>(block->seed + i) ? 0 : 1;
  }
  block->bytes = bytes;
  for_each_checked(block, [](unsigned char& byte, unsigned char value) { byte = value; });
  return block;
}

void work(std::uint64_t seed) {
  std::uint64_t random = seed;
  const std::uint64_t rounds = 2'000 + next(random) % 20'000;
  for (std::uint64_t i = 0; i < rounds && !g_end; ++i) {
    std::atomic<Block*>& box = g_boxes[next(random) % kBoxes];
    Block* block = nullptr;
    if (g_live_bytes < kLiveBudget) block = make(random);
    block = box.exchange(block, std::memory_order_acq_rel);
    if (block != nullptr && next(random) % 16 == 0) {
      block = box.exchange(grow(block, random), std::memory_order_acq_rel);
    }
    check_and_free(block);
  }
}

// A child that allocates, scans and ends, while the parent goes on.
bool child_is_well() {
  const pid_t child = fork();
  if (child == 0) {
    std::uint64_t random = 4711;
    for (int i = 0; i < 200; ++i) check_and_free(make(random));
    const arena::report found = arena::scan();
    _exit(g_damaged == 0 && found.complete() && !found.has_leaks() ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::size_t resident_bytes() {
  long pages = 0;
  long resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%ld %ld", &pages, &resident) != 2) std::abort();
  std::fclose(file);
  return static_cast<std::size_t>(resident) * 4096;
}

}  // namespace

int main(int argc, char** argv) {
  const long seconds = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 5;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::vector<std::thread> threads;
  std::uint64_t seed = 88172645463325252;
  std::uint64_t scans = 0;
  std::uint64_t forks = 0;
  std::uint64_t ended = 0;
  std::size_t largest_resident = 0;
  for (std::size_t t = 0; t < kThreads; ++t) threads.emplace_back(work, next(seed));
  while (std::chrono::steady_clock::now() < until) {
    std::thread& oldest = threads[ended++ % kThreads];
    oldest.join();
    oldest = std::thread(work, next(seed));
    const arena::report found = arena::scan();
    CHECK(found.complete());
    CHECK(!found.has_leaks());
    if (found.has_leaks()) arena::report::print(2);
    ++scans;
    if (ended % 4 == 0) {
      CHECK(child_is_well());
      ++forks;
    }
    largest_resident = std::max(largest_resident, resident_bytes());
  }
  g_end = true;
  for (std::thread& thread : threads) thread.join();
  for (auto& box : g_boxes) check_and_free(box.exchange(nullptr));
  CHECK(g_damaged == 0);
  CHECK(g_live_bytes == 0);
  // What is live, as much again waiting to be used, and the tool's own tables.
  CHECK(largest_resident < 2 * (kLiveBudget + kThreads * kLargest) + (std::size_t{128} << 20));
  std::printf("%llu blocks, %llu threads ended, %llu scans, %llu forks, at most %zu MiB resident\n",
              static_cast<unsigned long long>(g_blocks), static_cast<unsigned long long>(ended),
              static_cast<unsigned long long>(scans), static_cast<unsigned long long>(forks), largest_resident >> 20);
  return arenascan::test::finish();
}
