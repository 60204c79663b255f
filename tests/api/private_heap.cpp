// Private heaps from C++: exact scans, containers, separation from the process's heap.
#include <arenascan/arena.hpp>

#include <vector>

#include "tests/check.h"

int main() {
  arena::heap heap;
  void* root[2] = {};
  heap.add_root(root, sizeof(root));
  CHECK(heap.scan().seen.objects == 0);

  auto** const first = static_cast<void**>(heap.allocate(64));
  root[0] = first;
  first[3] = heap.allocate(1000);
  CHECK(!heap.scan().has_leaks());
  first[3] = nullptr;
  arena::report found = heap.scan();
  CHECK(found.leaked.objects == 1 && found.leaked.bytes == 1000 && found.direct.objects == 1);
  root[0] = nullptr;
  root[1] = reinterpret_cast<char*>(first) + 63;  // its last byte
  CHECK(heap.scan().leaked.objects == 1);
  CHECK(heap.remove_root(root, sizeof(root)));
  CHECK(!heap.remove_root(root, sizeof(root)));
  CHECK(heap.scan().leaked.objects == 2);
  heap.deallocate(first);
  CHECK(heap.scan().leaked.objects == 1);

  arena::heap for_containers;
  std::vector<int, arena::allocator<int>> numbers{arena::allocator<int>(for_containers)};
  for (int i = 0; i < 1000; ++i) numbers.push_back(i);
  CHECK(for_containers.scan().seen.objects == 1);
  arena::memory_resource resource(for_containers);
  std::pmr::vector<std::pmr::string> words(&resource);
  words.emplace_back("a string that is too long for the small-string buffer");
  CHECK(for_containers.scan().seen.objects == 3);
  for_containers.add_root(&words, sizeof(words));
  CHECK(for_containers.scan().leaked.objects == 1);  // the vector of numbers is not registered

  arena_heap* const small = arena_heap_create(std::size_t{64} << 20);
  CHECK(arena_heap_alloc(small, std::size_t{1} << 30) == nullptr);
  std::size_t blocks = 0;
  while (arena_heap_alloc(small, 1 << 20) != nullptr) ++blocks;
  CHECK(blocks >= 32 && blocks <= 64);
  CHECK(arena_heap_scan(small, nullptr) == blocks);
  arena_heap_destroy(small);
  return arenascan::test::finish();
}
