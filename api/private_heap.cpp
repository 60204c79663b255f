// Private heaps for the C API: a heap, one cache, its roots and its scanner, in one block of the tool's memory.
#include <cerrno>
#include <new>

#include "alloc/meta_alloc.h"
#include "api/registered_roots.h"
#include "api/result.h"
#include "arenascan/arena.h"
#include "scan/scanner.h"

using namespace arenascan;

struct arena_heap {
  alloc::Heap heap;
  scan::UserRoots roots;
  scan::Scanner scanner{heap, roots, nullptr};
  alloc::ThreadCache* cache = nullptr;
};

namespace {

constexpr std::size_t kDefaultBytes = std::size_t{16} << 30;

int result_of(int error) noexcept {
  if (error == 0) return 0;
  errno = error;
  return -1;
}

}  // namespace

extern "C" {

arena_heap* arena_heap_create(std::size_t max_bytes) {
  void* const memory = alloc::meta_allocate(sizeof(arena_heap));
  if (memory != nullptr) {
    auto* const created = new (memory) arena_heap;
    if (created->heap.init(max_bytes == 0 ? kDefaultBytes : max_bytes)) {
      created->cache = created->heap.acquire_cache();
      if (created->cache != nullptr) return created;
    }
    arena_heap_destroy(created);
  }
  errno = ENOMEM;
  return nullptr;
}

void arena_heap_destroy(arena_heap* heap) {
  heap->heap.destroy();
  heap->~arena_heap();
  alloc::meta_free(heap);
}

void* arena_heap_alloc(arena_heap* heap, std::size_t size) {
  void* const object = heap->heap.allocate(*heap->cache, size, heap->heap.birth(alloc::kNoStack));
  if (object == nullptr) errno = ENOMEM;
  return object;
}

void arena_heap_free(arena_heap* heap, void* p) {
  if (p != nullptr) heap->heap.release(*heap->cache, p);
}

int arena_heap_add_root(arena_heap* heap, const void* p, std::size_t size) {
  return result_of(api::add_root(heap->roots, p, size));
}

int arena_heap_remove_root(arena_heap* heap, const void* p, std::size_t size) {
  return result_of(api::remove_root(heap->roots, p, size));
}

std::size_t arena_heap_scan(arena_heap* heap, arena_scan_result* result) {
  const int saved_errno = errno;
  scan::Verdict verdict;
  heap->scanner.scan(scan::ScanSettings{}, verdict);
  if (result != nullptr) api::fill_result(verdict, *result);
  errno = saved_errno;
  return verdict.direct.objects + verdict.indirect.objects;
}

}  // extern "C"
