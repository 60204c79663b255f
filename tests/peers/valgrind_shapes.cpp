// Valgrind's memcheck/tests/leak-tree (two parts of a tree are cut off: a leaf, and a node with two leaves) and
// leak-cycle (rings of three: two alone; two of which one points to the other; two that point to each other).
#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

struct Node {
  Node* left = nullptr;
  Node* right = nullptr;
};

Node* volatile g_tree = nullptr;

[[gnu::noinline]] void grow() {
  Node* const root = used(new Node);
  root->left = new Node{new Node, new Node};
  root->right = new Node{new Node, new Node};
  g_tree = root;
}

[[gnu::noinline]] void cut() {
  g_tree->left->left = nullptr;
  g_tree->right = nullptr;
}

// Three in a ring; `right` of the first is free.
Node* ring() {
  Node* const first = used(new Node);
  first->left = new Node{new Node{first, nullptr}, nullptr};
  return first;
}

[[gnu::noinline]] void two_rings(bool is_linked, bool is_linked_back) {
  Node* const one = ring();
  Node* const two = ring();
  if (is_linked) one->right = two;
  if (is_linked_back) two->right = one;
}

}  // namespace

int main() {
  std::uint32_t mark = arena_mark();
  grow();
  expect_lost("the tree", lost_since(mark), {0, 0});
  cut();
  expect_lost("what was cut off", lost_since(mark), {2, 2});

  mark = arena_mark();
  two_rings(false, false);
  expect_lost("two rings", lost_since(mark), {2, 4});
  two_rings(true, false);
  expect_lost("a ring behind a ring", lost_since(mark), {3, 9});
  two_rings(true, true);
  expect_lost("two rings that hold each other", lost_since(mark), {4, 14});
  return finish();
}
