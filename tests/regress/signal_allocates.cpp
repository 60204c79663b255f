// A signal handler that allocates and frees, as none should: it interrupts the allocator anywhere, and no block is
// handed out twice, damaged or lost; out of memory is the worst it may be told.
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

struct Block {
  std::size_t bytes;
  unsigned char fill;
};

Block* make(std::size_t bytes, unsigned char fill) {
  auto* const block = static_cast<Block*>(std::malloc(sizeof(Block) + bytes));
  if (block == nullptr) return nullptr;
  *block = {bytes, fill};
  std::memset(block + 1, fill, bytes);
  return block;
}

bool is_whole(const Block* block) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(block + 1);
  for (std::size_t i = 0; i < block->bytes; ++i) {
    if (bytes[i] != block->fill) return false;
  }
  return true;
}

constexpr std::size_t kHeld = 64;
Block* g_held[kHeld];  // the handler's
std::atomic<std::uint64_t> g_handled{0};
std::atomic<std::uint64_t> g_refused{0};
std::atomic<std::uint64_t> g_damaged{0};

void on_timer(int) {
  const std::uint64_t count = g_handled++;
  Block*& slot = g_held[count % kHeld];
  if (slot != nullptr) {
    if (!is_whole(slot)) ++g_damaged;
    std::free(slot);
  }
  const std::size_t bytes = count % 50 == 0 ? 200'000 : count * 37 % 900;
  slot = make(bytes, static_cast<unsigned char>(200 + count % 50));
  if (slot == nullptr) ++g_refused;
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = on_timer;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval often{{0, 100}, {0, 100}};
  setitimer(ITIMER_REAL, &often, nullptr);

  std::uint64_t random = 88172645463325252;
  std::vector<Block*> blocks(500);
  std::uint64_t rounds = 0;
  while (g_handled < 20'000) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    Block*& slot = blocks[random % blocks.size()];
    if (slot != nullptr) {
      if (!is_whole(slot)) ++g_damaged;
      std::free(slot);
    }
    slot = make((random >> 32) % ((random & 63) == 0 ? 300'000 : 900), static_cast<unsigned char>(rounds % 199));
    CHECK(slot != nullptr);
    ++rounds;
  }
  const itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  for (Block* const block : blocks) {
    CHECK(block == nullptr || is_whole(block));
    std::free(block);
  }
  for (Block*& block : g_held) {
    CHECK(block == nullptr || is_whole(block));
    std::free(block);
    block = nullptr;
  }
  CHECK(g_damaged == 0);
  CHECK(g_refused < g_handled / 10);
  CHECK(rounds > 0);
  return arenascan::test::finish();
}
