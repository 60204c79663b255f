#include "alloc/heap_view.h"

namespace arenascan::alloc {

bool HeapView::add_policy(const Object& object, std::uint8_t bits) noexcept {
  heap_.count_annotation();
  object.page->annotated.store(true, std::memory_order_relaxed);
  auto& slot = object.page->states()[object.index];
  std::uint8_t seen = slot.load(std::memory_order_relaxed);
  do {
    if (!state::is_allocated(seen)) return false;
    // Release: `annotated` is seen by whoever sees the flag.
  } while (!slot.compare_exchange_weak(seen, seen | bits, std::memory_order_release, std::memory_order_relaxed));
  return true;
}

}  // namespace arenascan::alloc
