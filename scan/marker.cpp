#include "scan/marker.h"

#include <algorithm>

#include "alloc/os.h"

namespace arenascan::scan {

using alloc::HeapView;
using alloc::Object;
using alloc::Page;

static_assert(kMostLanes == kMostHelpers + 1);

namespace {

// Copies may take a sixteenth of the heap's size.
constexpr std::size_t kPagesForCopy = 16;

}  // namespace

bool Marker::begin_locked() noexcept {
  state_.closed = {};
  state_.has_missed.store(false, std::memory_order_relaxed);
  lanes_used_ = 1;
  // Nothing was counted behind what has ever been handed out.
  const std::size_t counted =
      std::min(state_.reached_of.size(), state_.heap.in_use_locked().bytes >> alloc::kPageShift);
  std::fill_n(state_.reached_in.begin(), counted, MarkState::ReachedIn{});
  std::fill_n(state_.reached_of.begin(), counted, 0U);
  for (MarkLane& lane : lanes_) lane.begin(state_);
  if (!extend_locked()) return false;
  if (state_.epoch.advance()) {
    state_.heap.for_each_page_locked([](Page& page) {
      for (std::uint32_t i = 0; i < page.capacity; ++i) page.marks()[i].store(0, std::memory_order_relaxed);
    });
  }
  return true;
}

bool Marker::extend_locked() noexcept {
  constexpr std::size_t kRoomBytes = std::size_t{64} << 20;
  const auto range = state_.heap.range();
  const std::size_t used = state_.heap.in_use_locked().bytes;
  const std::size_t bytes = std::min(range.bytes, used + used / 4 + kRoomBytes);
  const std::size_t pages = bytes >> alloc::kPageShift;
  const std::size_t counted = std::max(state_.reached_in.size(), pages);
  if (!first().reserve(pages, 1) || !state_.reached_in.resize(counted) || !state_.reached_of.resize(counted)) {
    return false;
  }
  state_.window = {range.begin, bytes};
  forget_known();  // of words that pointed nowhere then
  return true;
}

void Marker::mark_annotated(std::size_t page_end) noexcept {
  const auto fetch_nothing = [](const Page&) {};
  state_.heap.for_each_page(0, page_end, fetch_nothing, [this](Page& page) {
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

bool Marker::drain_until(std::uint64_t deadline_ns) noexcept {
  const auto is_over = [](void* deadline) {
    return alloc::os_monotonic_ns() >= *static_cast<const std::uint64_t*>(deadline);
  };
  return drain_until({is_over, &deadline_ns});
}

bool Marker::drain_until(const Until& until) noexcept {
  constexpr unsigned kStepsPerQuestion = 32;
  for (unsigned steps = 1; step(); ++steps) {
    if (most_lanes_ != 1 && first().waiting() >= pages_worth_sharing_) {
      const std::size_t lanes = lanes_now();
      if (lanes > 1 && !share(lanes, until)) most_lanes_ = 1;
    }
    if (steps % kStepsPerQuestion == 0 && until()) return false;
  }
  return true;
}

// Threads that a pause has just let go, or stopped, are not idle for some moments; so a no is asked for again soon. A
// yes is not good for ever, either.
std::size_t Marker::lanes_now() noexcept {
  constexpr std::uint64_t kNoNs = 1'000'000;
  constexpr std::uint64_t kYesNs = 20'000'000;
  if (most_lanes_ != 0) return most_lanes_;
  const std::uint64_t now = alloc::os_monotonic_ns();
  if (now >= ask_again_at_ns_) {
    idle_lanes_ = std::min(1 + idle_processors(), kMostLanes);
    ask_again_at_ns_ = now + (idle_lanes_ == 1 ? kNoNs : kYesNs);
  }
  return idle_lanes_;
}

// False: there is nobody to share with.
bool Marker::share(std::size_t lanes, const Until& until) noexcept {
  const std::size_t count = std::min(helpers_.start(lanes - 1) + 1, lanes);
  for (std::size_t i = 0; i < count; ++i) {
    if (!lanes_[i].reserve(page_end(), count)) return false;
  }
  if (count == 1 || !exchange_.begin(count)) return false;
  first().hand_out({lanes_.data(), count}, exchange_);
  struct Job {
    Marker* marker;
    const Until* until;
  } job{this, &until};
  const auto share_one = [](void* argument, std::size_t number) {
    const Job& wanted = *static_cast<const Job*>(argument);
    if (number >= wanted.marker->exchange_.lanes()) return;  // one that an earlier sharing had use for
    wanted.marker->lanes_[number].share(wanted.marker->exchange_, number, number == 0 ? wanted.until : nullptr);
  };
  lanes_used_ = std::max(lanes_used_, count);
  helpers_.run(share_one, &job);
  share_one(&job, 0);
  helpers_.wait();
  for (std::size_t i = 0; i < count; ++i) first().take_over(lanes_[i], exchange_, i);
  return true;
}

namespace {

std::size_t bytes_of(const Page& page) noexcept { return page.page_count * alloc::kPageBytes; }

// Into the second cache: it is more than the first can wait for.
void fetch_os_page(const void* page) noexcept {
  constexpr std::size_t kLineBytes = 64;
  for (std::size_t at = 0; at < alloc::kOsPageBytes; at += kLineBytes) {
    __builtin_prefetch(static_cast<const char*>(page) + at, 0, 2);
  }
}

}  // namespace

void Marker::reread(AddressRange written, Time time) noexcept {
  const std::uintptr_t end = std::min(written.end, state_.window.begin + state_.window.bytes);
  for (std::uintptr_t at = std::max(written.begin, state_.window.begin); at < end;) {
    const std::uintptr_t next = std::min(end, (at | (alloc::kOsPageBytes - 1)) + 1);
    if (const Page* const page = state_.heap.page_of(at)) {
      std::uintptr_t* known = known_.find(at);
      if (known == nullptr && time == Time::kToSpare && is_worth_knowing(at)) {
        known = known_.add(at, (page_end() << alloc::kPageShift) / alloc::kOsPageBytes / kPagesForCopy);
      }
      reread_part(*page, {at, next}, known);
      if (known != nullptr && !is_known_good()) reread_part(*page, {at, next});
    }
    at = next;
  }
}

// A word may be the same and mean another object, where a page was given back and set up again. Asked after the words
// were read (acquire): whoever stored one that means a new page did so after the drop was counted.
bool Marker::is_known_good() noexcept {
  if (state_.heap.pages_dropped() == dropped_) return true;
  forget_known();
  return false;
}

bool Marker::is_worth_knowing(std::uintptr_t os_page) noexcept {
  constexpr std::size_t kWords = alloc::kOsPageBytes / sizeof(std::uintptr_t);
  std::uintptr_t found[kWords + kFilterSlack];
  if (!state_.closed.parts.empty() || !state_.forms.are_plain()) return false;
  return filter_words(reinterpret_cast<const std::uintptr_t*>(os_page), kWords, state_.window, found) >= many_pointers_;
}

void Marker::fetch_objects_at(std::uintptr_t os_page) const noexcept {
  const Page* const page = state_.heap.page_of(os_page);
  if (page == nullptr) return;
  const std::uint32_t index = page->index_of(os_page);
  __builtin_prefetch(page->states() + index);
  __builtin_prefetch(page->marks() + index);
  __builtin_prefetch(page->records + index);
  if (const std::uintptr_t* const known = known_.find(os_page)) fetch_os_page(known);
  fetch_os_page(reinterpret_cast<const void*>(os_page));
}

void Marker::reread_part(const Page& page, AddressRange part, std::uintptr_t* known) noexcept {
  const std::uint32_t begin = page.index_of(part.begin);
  const std::uint32_t end = std::min(page.index_of(part.end - 1) + 1, page.capacity);
  if (known == nullptr && page.slot_bytes <= kSmallSlotBytes) {
    reread_slots(page, begin, end);
    return;
  }
  for (std::uint32_t index = begin; index < end; ++index) {
    const Object object{const_cast<Page*>(&page), index};
    if (!is_black(page, index) || !MarkLane::is_read(object)) continue;
    const std::size_t overlap = state_.forms.overlap_bytes();
    const std::uintptr_t first_byte = std::max(object.address(), part.begin - overlap);
    const std::uintptr_t last_byte = std::min(object.address() + object.bytes(), part.end + overlap);
    if (first_byte >= last_byte) continue;
    if (known == nullptr || !state_.closed.parts.empty()) {
      first().gather(first_byte, last_byte);
    } else {
      first().gather_unknown(first_byte, last_byte, known + (first_byte - part.begin) / sizeof(*known));
    }
  }
}

void Marker::reread_slots(const Page& page, std::uint32_t begin, std::uint32_t end) noexcept {
  for (std::uint32_t slot = begin & ~(GreyPages::kGroupSlots - 1); slot < end; slot += GreyPages::kGroupSlots) {
    std::uint64_t objects = objects_with_mark(page, slot, state_.epoch.black());
    if (slot < begin) objects &= ~std::uint64_t{0} << (begin - slot);
    if (end - slot < GreyPages::kGroupSlots) objects &= (std::uint64_t{1} << (end - slot)) - 1;
    if (objects != 0) first().read({const_cast<Page*>(&page), objects, slot});
  }
}

// A span that reaches into the next piece is read as far as this one.
void Marker::reread_all(AddressRange piece) noexcept {
  const std::size_t begin = (piece.begin - state_.window.begin) >> alloc::kPageShift;
  const std::size_t end = std::min((piece.end - state_.window.begin) >> alloc::kPageShift, page_end());
  const Page* const across = state_.heap.page_numbered(begin);
  if (across != nullptr && state_.heap.number_of(*across) != begin) {
    reread({piece.begin, std::min(piece.end, across->base + bytes_of(*across))});
  }
  state_.heap.for_each_page(begin, end, HeapView::fetch_states_and_marks, [&](Page& page) {
    if (page.base + bytes_of(page) > piece.end) return reread_part(page, {page.base, piece.end});
    reread_slots(page, 0, page.capacity);
  });
}

}  // namespace arenascan::scan
