// What is told of objects that are lost together: which of them is direct.
#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

struct Node {
  Node* links[2] = {};
};

// Builds something and forgets it.
using Build = void (*)();

Lost lost_by(Build build) {
  const std::uint32_t mark = arena_mark();
  build();
  return lost_since(mark);
}

// Or the compiler would leave it out.
void forget(Node* node) { asm volatile("" : : "r"(node) : "memory"); }

[[gnu::noinline]] void one_that_points_to_itself() {
  Node* const node = new Node;
  node->links[0] = node;
  forget(node);
}
[[gnu::noinline]] void list() {
  Node* head = nullptr;
  for (int i = 0; i < 100; ++i) head = new Node{{head, nullptr}};
  forget(head);
}
[[gnu::noinline]] void ring() {
  Node* const first = new Node;
  Node* last = first;
  for (int i = 0; i < 9; ++i) last = last->links[0] = new Node;
  last->links[0] = first;
  forget(first);
}
[[gnu::noinline]] void ring_behind_a_list() {
  Node* const first = new Node;
  first->links[0] = new Node{{first, nullptr}};
  Node* const head = new Node{{new Node{{first, nullptr}}, nullptr}};
  forget(head);
}
[[gnu::noinline]] Node* tree(int depth) { return depth == 0 ? nullptr : new Node{{tree(depth - 1), tree(depth - 1)}}; }
[[gnu::noinline]] void lose_tree() {
  Node* const root = tree(6);
  forget(root);
}
[[gnu::noinline]] void two_that_share() {
  Node* const shared = new Node;
  Node* const left = new Node{{shared, nullptr}};
  Node* const right = new Node{{nullptr, shared}};
  forget(left);
  forget(right);
}
[[gnu::noinline]] void freed() {
  Node* const node = new Node;
  forget(node);
  delete node;
}

}  // namespace

int main() {
  CHECK((lost_by(one_that_points_to_itself) == Lost{1, 0}));
  CHECK((lost_by(list) == Lost{1, 99}));
  CHECK((lost_by(ring) == Lost{1, 9}));
  CHECK((lost_by(ring_behind_a_list) == Lost{1, 3}));
  CHECK((lost_by(lose_tree) == Lost{1, 62}));
  CHECK((lost_by(two_that_share) == Lost{2, 1}));
  CHECK((lost_by(freed) == Lost{0, 0}));
  return finish();
}
