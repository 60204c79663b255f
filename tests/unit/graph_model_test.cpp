// The scan against an exact oracle: random graphs of objects in a private heap, with explicit roots and annotations.
// Reached, leaked, direct and indirect have to be what a breadth-first search over the model says.
// ARENA_MODEL_GRAPHS sets the number of graphs.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "alloc/heap.h"
#include "scan/scanner.h"
#include "tests/unit/random.h"

using namespace arenascan;
using test::Random;

namespace {

struct Node {
  std::uintptr_t address = 0;
  std::size_t bytes = 0;
  std::uint8_t policy = 0;
  std::vector<std::size_t> edges;  // to other nodes, as stored in its words
};

class Graph {
 public:
  explicit Graph(Random& random) : random_(random), scanner_(heap_, roots_, nullptr) {
    REQUIRE(heap_.init(std::size_t{1} << 30));
    REQUIRE((cache_ = heap_.acquire_cache()) != nullptr);
    REQUIRE(roots_.add({reinterpret_cast<std::uintptr_t>(root_words_.data()),
                        reinterpret_cast<std::uintptr_t>(root_words_.data() + root_words_.size())}));
  }
  ~Graph() { heap_.destroy(); }

  // Frees some nodes, makes others, rewires all, scans and compares.
  void round() {
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      if (!random_.one_in(3)) continue;
      heap_.release(*cache_, reinterpret_cast<void*>(nodes_[i].address));
      nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (std::size_t wanted = random_.below(30); wanted > 0; --wanted) make_node();
    wire();
    compare();
  }

 private:
  void make_node() {
    Node node;
    node.bytes = random_.one_in(20) ? random_.below(300'000) : random_.below(200);
    void* const p = heap_.allocate(*cache_, node.bytes, heap_.birth(0));
    REQUIRE(p != nullptr);
    node.address = reinterpret_cast<std::uintptr_t>(p);
    if (random_.one_in(12)) {
      constexpr std::uint8_t kPolicies[] = {alloc::state::kNotLeak, alloc::state::kIgnored, alloc::state::kNoScan};
      node.policy = kPolicies[random_.below(3)];
      alloc::Object object;
      REQUIRE(alloc::HeapView(heap_).find(node.address, object));
      REQUIRE(alloc::HeapView(heap_).add_policy(object, node.policy));
    }
    nodes_.push_back(node);
  }

  // A word that keeps node `to` alive: its beginning, its last byte or any byte between.
  std::uintptr_t pointer_to(std::size_t to) {
    const Node& node = nodes_[to];
    if (node.bytes < 2 || random_.one_in(2)) return node.address;
    return node.address + random_.below(node.bytes);
  }

  // A word that keeps nothing alive: small numbers, and addresses of the heap that hold no object.
  std::uintptr_t noise() {
    return random_.one_in(2) ? random_.below(1 << 20) : alloc::HeapView(heap_).range().begin - 8;
  }

  void wire() {
    for (Node& node : nodes_) {
      node.edges.clear();
      std::memset(reinterpret_cast<void*>(node.address), 0, node.bytes);
      const std::size_t words = node.bytes / sizeof(std::uintptr_t);
      std::vector<std::size_t> used;
      for (std::size_t i = 0; i < std::min<std::size_t>(words, random_.below(4)); ++i) {
        const std::size_t word = random_.one_in(4) ? words - 1 : random_.below(words);
        if (std::find(used.begin(), used.end(), word) != used.end()) continue;
        used.push_back(word);
        const bool is_edge = !random_.one_in(5);
        const std::size_t to = random_.below(nodes_.size());
        const std::uintptr_t value = is_edge ? pointer_to(to) : noise();
        std::memcpy(reinterpret_cast<void*>(node.address + word * sizeof(value)), &value, sizeof(value));
        if (is_edge) node.edges.push_back(to);
      }
    }
    root_edges_.clear();
    for (std::uintptr_t& word : root_words_) {
      word = noise();
      if (nodes_.empty() || !random_.one_in(4)) continue;
      root_edges_.push_back(random_.below(nodes_.size()));
      word = pointer_to(root_edges_.back());
    }
  }

  [[nodiscard]] bool is_read(std::size_t i) const {
    return (nodes_[i].policy & (alloc::state::kNoScan | alloc::state::kIgnored)) == 0;
  }

  void spread(std::vector<std::size_t> from, std::vector<char>& seen) const {
    for (const std::size_t i : from) seen[i] = 1;
    while (!from.empty()) {
      const std::size_t i = from.back();
      from.pop_back();
      if (!is_read(i)) continue;
      for (const std::size_t to : nodes_[i].edges) {
        if (seen[to] != 0) continue;
        seen[to] = 1;
        from.push_back(to);
      }
    }
  }

  void compare() {
    std::vector<std::size_t> roots = root_edges_;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if ((nodes_[i].policy & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0) roots.push_back(i);
    }
    std::vector<char> reached(nodes_.size(), 0);
    spread(roots, reached);

    std::vector<std::size_t> lost;
    std::uint64_t lost_bytes = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (reached[i] != 0) continue;
      lost.push_back(i);
      lost_bytes += nodes_[i].bytes;
    }
    scan::Verdict verdict;
    scanner_.scan({}, verdict);
    REQUIRE(verdict.incomplete == scan::Incomplete::kNo);
    REQUIRE(verdict.seen.objects == nodes_.size());
    REQUIRE(verdict.reached.objects == nodes_.size() - lost.size());
    REQUIRE(verdict.orphans.objects == lost.size());
    REQUIRE(verdict.direct.objects + verdict.indirect.objects + verdict.changed.objects == lost.size());
    REQUIRE(verdict.direct.bytes + verdict.indirect.bytes + verdict.changed.bytes == lost_bytes);
    if (verdict.changed.objects == 0) REQUIRE(verdict.direct.objects == count_sources(lost));
  }

  // Strongly connected components of the lost part that nothing else in it points to: each has one direct leak.
  [[nodiscard]] std::size_t count_sources(const std::vector<std::size_t>& lost) const {
    std::vector<std::vector<char>> reaches;
    for (const std::size_t i : lost) {
      reaches.emplace_back(nodes_.size(), 0);
      spread({i}, reaches.back());
    }
    std::size_t sources = 0;
    for (std::size_t a = 0; a < lost.size(); ++a) {
      bool is_source = true;
      for (std::size_t b = 0; b < lost.size(); ++b) {
        const bool b_reaches_a = reaches[b][lost[a]] != 0;
        const bool a_reaches_b = reaches[a][lost[b]] != 0;
        if (b_reaches_a && !a_reaches_b) is_source = false;          // held by another component
        if (b_reaches_a && a_reaches_b && b < a) is_source = false;  // counted with an earlier member
      }
      sources += is_source ? 1 : 0;
    }
    return sources;
  }

  Random& random_;
  alloc::Heap heap_;
  scan::UserRoots roots_;
  scan::Scanner scanner_;
  alloc::ThreadCache* cache_ = nullptr;
  std::array<std::uintptr_t, 16> root_words_{};
  std::vector<std::size_t> root_edges_;
  std::vector<Node> nodes_;
};

}  // namespace

TEST_CASE("scans of random graphs agree with the oracle") {
  const std::uint64_t graphs = test::length_from("ARENA_MODEL_GRAPHS", 6'000);
  constexpr std::uint64_t kRoundsEach = 300;  // more than there are epochs
  for (std::uint64_t done = 0, seed = 1; done < graphs; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Graph graph(random);
    for (std::uint64_t i = 0; i < kRoundsEach && done < graphs; ++i, ++done) {
      CAPTURE(i);
      graph.round();
    }
  }
  MESSAGE("graphs: ", graphs);
}
