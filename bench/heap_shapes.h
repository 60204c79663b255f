// Heaps of different shapes for the scan benches, each of about as many objects as are asked for, all reachable from
// one global root. They are built by the collector's own allocate(), with the same random numbers for everybody.
//
//     hash      a table of chains, objects of 24 to 256 bytes, each with one more pointer to a random earlier one
//     tree      a random binary tree, 48 bytes a node
//     vectors   arrays of 1,000 pointers to objects of 24 to 256 bytes without pointers, in the order of allocation
//     lists     eight long lists whose nodes lie in memory in no order
//     tiny      16 bytes a node: a random binary tree, nothing but its two pointers
//     buffers   an array of buffers of 16 KiB that the program says hold no pointers, filled with noise; one for every
//               64 objects asked for
//     large     blocks of 1 MiB full of pointers to objects of 32 bytes, in no order
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "collector.h"
#include "program.h"

namespace bench {

inline void* volatile g_root = nullptr;

// One object in so many is followed by one more that nothing points to, anywhere in the heap; 0: none.
inline std::size_t g_one_lost_in = 0;

inline void* allocate_object(std::size_t bytes) {
  static std::size_t count = 0;
  void* const object = allocate(bytes);
  if (g_one_lost_in != 0 && ++count % g_one_lost_in == 0) {
    void* lost = allocate(bytes);
    std::memset(lost, 0, bytes);
    asm volatile("" : "+r"(lost) : : "memory");  // or the compiler would leave it out
  }
  return object;
}

inline std::size_t random_size(Random& random) { return 24 + random.below(233); }

// Nothing the builders leave behind on the stack or in registers may hold the heap: they run as calls of their own.
[[gnu::noinline]] inline void build_hash(std::size_t count, Random& random) {
  struct Node {
    Node* next;
    Node* cross;
    std::uint64_t key;
  };
  const std::size_t buckets = count / 2 + 1;
  auto** const table = static_cast<Node**>(allocate(buckets * sizeof(Node*)));
  auto** const all = static_cast<Node**>(allocate(count * sizeof(Node*)));
  std::memset(table, 0, buckets * sizeof(Node*));
  g_root = table;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t bytes = random_size(random);
    auto* const node = static_cast<Node*>(allocate_object(bytes));
    std::memset(static_cast<void*>(node), 0, bytes);
    Node*& head = table[random.below(buckets)];
    *node = {head, i == 0 ? nullptr : all[random.below(i)], i};
    all[i] = head = node;
  }
  release(all);
}

[[gnu::noinline]] inline void build_tree(std::size_t bytes, std::size_t count, Random& random) {
  struct Node {
    Node* child[2];
  };
  const auto make = [bytes] {
    void* const node = allocate_object(bytes);
    std::memset(node, 0, bytes);
    return static_cast<Node*>(node);
  };
  auto** const all = static_cast<Node**>(allocate(count * sizeof(Node*)));
  all[0] = make();
  g_root = all[0];
  for (std::size_t i = 1; i < count; ++i) {
    Node** place = &all[random.below(i)];
    while (*place != nullptr) place = &(*place)->child[random.below(2)];
    all[i] = *place = make();
  }
  release(all);
}

[[gnu::noinline]] inline void build_vectors(std::size_t count, Random& random) {
  constexpr std::size_t kEach = 1000;
  const std::size_t arrays = count / kEach + 1;
  auto** const outer = static_cast<void***>(allocate(arrays * sizeof(void**)));
  for (std::size_t a = 0; a < arrays; ++a) {
    outer[a] = static_cast<void**>(allocate(kEach * sizeof(void*)));
    for (std::size_t i = 0; i < kEach; ++i) {
      const std::size_t bytes = random_size(random);
      outer[a][i] = allocate_object(bytes);
      std::memset(outer[a][i], 1, bytes);
    }
  }
  g_root = outer;
}

[[gnu::noinline]] inline void build_lists(std::size_t count, Random& random) {
  struct Node {
    Node* next;
    std::uint64_t value;
  };
  constexpr std::size_t kLists = 8;
  auto** const all = static_cast<Node**>(allocate(count * sizeof(Node*)));
  auto** const heads = static_cast<Node**>(allocate(kLists * sizeof(Node*)));
  for (std::size_t i = 0; i < count; ++i) {
    all[i] = static_cast<Node*>(allocate_object(32));
    std::memset(static_cast<void*>(all[i]), 0, 32);
  }
  for (std::size_t i = count - 1; i > 0; --i) std::swap(all[i], all[random.below(i + 1)]);
  std::memset(heads, 0, kLists * sizeof(Node*));
  for (std::size_t i = 0; i < count; ++i) {
    all[i]->next = heads[i % kLists];
    heads[i % kLists] = all[i];
  }
  g_root = heads;
  release(all);
}

[[gnu::noinline]] inline void build_buffers(std::size_t count, Random& random) {
  constexpr std::size_t kWords = 2048;
  const std::size_t buffers = count / 64 + 1;
  auto** const all = static_cast<std::uint64_t**>(allocate(buffers * sizeof(std::uint64_t*)));
  for (std::size_t b = 0; b < buffers; ++b) {
    all[b] = static_cast<std::uint64_t*>(allocate_without_pointers(kWords * sizeof(std::uint64_t)));
    for (std::size_t i = 0; i < kWords; ++i) all[b][i] = random.next();
  }
  g_root = all;
}

[[gnu::noinline]] inline void build_large(std::size_t count, Random& random) {
  constexpr std::size_t kWords = std::size_t{1} << 17;
  const std::size_t blocks = count / kWords + 1;
  auto*** const all = static_cast<void***>(allocate(blocks * sizeof(void**)));
  for (std::size_t b = 0; b < blocks; ++b) {
    void** const block = static_cast<void**>(allocate(kWords * sizeof(void*)));
    for (std::size_t i = 0; i < kWords; ++i) {
      block[i] = allocate_object(32);
      std::memset(block[i], 0, 32);
    }
    for (std::size_t i = kWords - 1; i > 0; --i) std::swap(block[i], block[random.below(i + 1)]);
    all[b] = block;
  }
  g_root = all;
}

// False: there is no such shape.
inline bool build_shape(const char* shape, std::size_t count) {
  Random random(1);
  const auto is = [shape](const char* name) { return std::strcmp(shape, name) == 0; };
  if (is("hash")) {
    build_hash(count, random);
  } else if (is("tree")) {
    build_tree(48, count, random);
  } else if (is("tiny")) {
    build_tree(16, count, random);
  } else if (is("vectors")) {
    build_vectors(count, random);
  } else if (is("lists")) {
    build_lists(count, random);
  } else if (is("buffers")) {
    build_buffers(count, random);
  } else if (is("large")) {
    build_large(count, random);
  } else {
    return false;
  }
  return true;
}

}  // namespace bench
