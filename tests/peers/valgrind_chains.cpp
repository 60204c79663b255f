// The nine pointer chains of Valgrind's memcheck/tests/leak-cases: a root, a first and a second block, and pointers to
// their beginnings or into them, or none. An inner pointer is as good as any here, so what Valgrind calls possibly lost
// (chains 5 to 8) is reached.
#include <array>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

enum class Link { kNone, kBeginning, kInside };

struct Chain {
  int number;
  Link to_first;  // from the root
  Link to_second;
  bool has_second;
  Lost wanted;
};

constexpr std::array<Chain, 9> kChains = {{
    {1, Link::kBeginning, Link::kNone, false, {0, 0}},
    {2, Link::kBeginning, Link::kBeginning, true, {0, 0}},
    {3, Link::kNone, Link::kNone, false, {1, 0}},
    {4, Link::kNone, Link::kBeginning, true, {1, 1}},
    {5, Link::kInside, Link::kNone, false, {0, 0}},
    {6, Link::kBeginning, Link::kInside, true, {0, 0}},
    {7, Link::kInside, Link::kBeginning, true, {0, 0}},
    {8, Link::kInside, Link::kInside, true, {0, 0}},
    {9, Link::kNone, Link::kInside, true, {1, 1}},
}};

struct Block {
  void* link[2];
};
void* volatile g_roots[kChains.size()];

void* through(Block* block, Link link) {
  return link == Link::kNone ? nullptr : link == Link::kBeginning ? block : static_cast<void*>(&block->link[1]);
}

[[gnu::noinline]] void build(const Chain& chain, std::size_t i) {
  Block* const first = used(new Block{});
  if (chain.has_second) first->link[0] = through(used(new Block{}), chain.to_second);
  g_roots[i] = through(first, chain.to_first);
}

}  // namespace

int main() {
  for (std::size_t i = 0; i < kChains.size(); ++i) {
    const std::uint32_t mark = arena_mark();
    build(kChains[i], i);
    const std::string name = "chain " + std::to_string(kChains[i].number);
    expect_lost(name.c_str(), lost_since(mark), kChains[i].wanted);
  }
  return finish();
}
