#include "scan/marker.h"

#include <cstring>

namespace arenascan::scan {

using alloc::Object;
using alloc::Page;

void Marker::begin(std::span<const AddressRange> unreadable) noexcept {
  unreadable_ = unreadable;
  reached_ = {};
  if (epoch_.advance()) {
    heap_.for_each_page_locked([](Page& page) {
      for (std::uint32_t i = 0; i < page.capacity; ++i) page.marks()[i].store(0, std::memory_order_relaxed);
    });
  }
}

void Marker::make_grey(const Object& object) noexcept {
  object.mark().store(epoch_.grey(), std::memory_order_relaxed);
  queue_.push(object);
}

void Marker::mark_object(const Object& object) noexcept {
  if (is_white(object)) make_grey(object);
}

// The object's size, which lies elsewhere in memory, is asked for only where its colour does not decide.
void Marker::mark_word(std::uintptr_t word) noexcept {
  Object object;
  if (heap_.find_slot(word, object) && is_white(object) && object.contains(word)) make_grey(object);
}

void Marker::mark_range(AddressRange range) noexcept {
  for_each_word(range.begin, range.end, [this](std::uintptr_t word) { mark_word(word); });
}

void Marker::mark_annotated() noexcept {
  heap_.for_each_page_locked([this](Page& page) {
    if (!page.annotated.load(std::memory_order_relaxed)) return;
    for (std::uint32_t i = 0; i < page.capacity; ++i) {
      const Object object{&page, i};
      const std::uint8_t state = object.state();
      if (alloc::state::is_allocated(state) && (state & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0) {
        mark_object(object);
      }
    }
  });
}

void Marker::read(const Object& object) noexcept {
  object.mark().store(epoch_.black(), std::memory_order_relaxed);
  const std::size_t bytes = object.bytes();
  ++reached_.objects;
  reached_.bytes += bytes;
  if ((object.state() & (alloc::state::kNoScan | alloc::state::kIgnored)) != 0) return;
  mark_range({object.address(), object.address() + bytes});
}

bool Marker::queue_grey_left_behind() noexcept {
  if (!queue_.take_overflow()) return false;
  heap_.for_each_page_locked([this](Page& page) {
    for (std::uint32_t i = 0; i < page.capacity; ++i) {
      if (page.marks()[i].load(std::memory_order_relaxed) == epoch_.grey()) read({&page, i});
    }
  });
  return true;
}

void Marker::drain() noexcept {
  do {
    Object object;
    while (queue_.pop(object)) read(object);
  } while (queue_grey_left_behind());
}

}  // namespace arenascan::scan
