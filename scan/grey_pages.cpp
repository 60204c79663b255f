#include "scan/grey_pages.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace arenascan::scan {
namespace {

// So many of a page's slots make it nearly full.
std::uint32_t nearly(std::uint32_t capacity) noexcept { return capacity - capacity / 4; }

}  // namespace

bool GreyPages::reserve(std::size_t pages) noexcept {
  const std::size_t wanted = std::bit_ceil(pages + 1);
  if (wanted <= places_.size()) return true;
  GreyPages larger;
  if (!larger.places_.resize(wanted) || !larger.full_.pages.resize(wanted) || !larger.waiting_.pages.resize(wanted)) {
    return false;
  }
  larger.heap_ = heap_;
  std::swap(*this, larger);
  return true;
}

void GreyPages::begin(const alloc::HeapView& heap) noexcept {
  take_all([](const Waiting&) {});
  heap_ = &heap;
}

// Called when a page has its first grey object, slot `index`, and when it has become nearly full. Along a list each
// object is the first of its page: its state, which is wanted next, is asked from memory now, together with others'.
void GreyPages::queue(std::size_t page, std::uint32_t index) noexcept {
  Place& place = places_[page];
  if (place.stage == Place::kWaiting) {
    queue_full(page);
    return;
  }
  const alloc::Page* const of = heap_->page_numbered(page);
  const std::uint32_t full = of != nullptr ? nearly(of->capacity) : 1;
  if (of != nullptr) __builtin_prefetch(of->states() + index);
  ++size_;
  if (full == 1) {
    queue_full(page);
    return;
  }
  place.stage = Place::kWaiting;
  place.spare = static_cast<std::int32_t>(full) - 2;
  if (!std::exchange(place.in_waiting, true)) waiting_.push(page);
}

void GreyPages::queue_full(std::size_t page) noexcept {
  Place& place = places_[page];
  place.stage = Place::kFull;
  place.spare = kUnknown;
  if (!std::exchange(place.in_full, true)) full_.push(page);
}

void GreyPages::add(const Waiting& waiting) noexcept {
  Place& place = places_[waiting.page];
  if (waiting.groups == 0) return;
  place.groups |= waiting.groups;
  if (place.stage == Place::kNothing) {
    queue(waiting.page, static_cast<std::uint32_t>(std::countr_zero(waiting.groups)) << kGroupShift);
  }
  place.spare = std::min(place.spare, waiting.spare);
  if (place.spare < 0) queue_full(waiting.page);
}

GreyPages::Waiting GreyPages::pop() noexcept {
  if (last_ + 1 < places_.size() && places_[last_ + 1].stage == Place::kFull) return take(++last_);
  for (;;) {
    const bool is_full = !full_.empty();
    last_ = is_full ? full_.pop() : waiting_.pop();
    Place& place = places_[last_];
    (is_full ? place.in_full : place.in_waiting) = false;
    if (place.stage == (is_full ? Place::kFull : Place::kWaiting)) return take(last_);
  }
}

GreyPages::Waiting GreyPages::take(std::size_t page) noexcept {
  Place& place = places_[page];
  const bool is_full = std::exchange(place.stage, Place::kNothing) == Place::kFull;
  const std::int32_t spare = std::exchange(place.spare, 0);
  --size_;
  return {page, std::exchange(place.groups, 0), is_full ? -1 : spare};
}

}  // namespace arenascan::scan
