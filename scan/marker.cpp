#include "scan/marker.h"

#include <emmintrin.h>

#include <algorithm>

#include "alloc/os.h"

namespace arenascan::scan {

using alloc::HeapView;
using alloc::Object;
using alloc::Page;

static_assert(kMostLanes == kMostHelpers + 1);

bool Marker::begin_locked() noexcept {
  state_.unreadable = {};
  lanes_used_ = 1;
  state_.reached_in.clear();
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
  if (!first().reserve(pages, most_lanes_) || !state_.reached_in.resize(std::max(state_.reached_in.size(), pages))) {
    return false;
  }
  state_.window = {range.begin, bytes};
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
  constexpr unsigned kStepsPerClock = 32;
  for (unsigned steps = 1; step(); ++steps) {
    if (most_lanes_ > 1 && first().waiting() >= pages_worth_sharing_ && !share(deadline_ns)) most_lanes_ = 1;
    if (steps % kStepsPerClock == 0 && alloc::os_monotonic_ns() >= deadline_ns) return false;
  }
  return true;
}

// False: there is nobody to share with.
bool Marker::share(std::uint64_t deadline_ns) noexcept {
  const std::size_t count = helpers_.start(most_lanes_ - 1) + 1;
  for (std::size_t i = 0; i < count; ++i) {
    if (!lanes_[i].reserve(page_end(), count)) return false;
  }
  if (count == 1 || !exchange_.begin(count)) return false;
  first().hand_out({lanes_.data(), count}, exchange_);
  struct Job {
    Marker* marker;
    std::uint64_t deadline_ns;
  } job{this, deadline_ns};
  const auto share_one = [](void* argument, std::size_t number) {
    const Job& wanted = *static_cast<const Job*>(argument);
    wanted.marker->lanes_[number].share(wanted.marker->exchange_, number, wanted.deadline_ns);
  };
  lanes_used_ = std::max(lanes_used_, count);
  helpers_.run(share_one, &job);
  share_one(&job, 0);
  helpers_.wait();
  for (std::size_t i = 0; i < count; ++i) first().take_over(lanes_[i], exchange_, i);
  return true;
}

std::uint32_t Marker::reached_in(const Page& page) const noexcept {
  const MarkState::ReachedIn& reached = state_.reached_in[state_.heap.number_of(page)];
  __m128i sum = _mm_setzero_si128();
  for (std::size_t i = 0; i < sizeof(reached.groups); i += 16) {
    const __m128i counts = _mm_loadu_si128(reinterpret_cast<const __m128i*>(reached.groups + i));
    sum = _mm_add_epi64(sum, _mm_sad_epu8(counts, _mm_setzero_si128()));
  }
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(sum) + _mm_cvtsi128_si32(_mm_srli_si128(sum, 8)));
}

namespace {

std::size_t bytes_of(const Page& page) noexcept { return page.page_count * alloc::kPageBytes; }

}  // namespace

void Marker::reread(AddressRange written) noexcept {
  const std::uintptr_t end = std::min(written.end, state_.window.begin + state_.window.bytes);
  for (std::uintptr_t at = std::max(written.begin, state_.window.begin); at < end;) {
    const std::uintptr_t next = std::min(end, (at | (alloc::kPageBytes - 1)) + 1);
    if (const Page* const page = state_.heap.page_of(at)) reread_part(*page, {at, next});
    at = next;
  }
}

void Marker::reread_part(const Page& page, AddressRange part) noexcept {
  const std::uint32_t last = std::min(page.index_of(part.end - 1), page.capacity - 1);
  for (std::uint32_t index = page.index_of(part.begin); index <= last; ++index) {
    const Object object{const_cast<Page*>(&page), index};
    if (!is_black(page, index) || !MarkLane::is_read(object)) continue;
    const std::uintptr_t begin = std::max(object.address(), part.begin);
    const std::uintptr_t end = std::min(object.address() + object.bytes(), part.end);
    if (begin < end) first().gather(begin, end);
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
    for (std::uint32_t slot = 0; slot < page.capacity; slot += GreyPages::kGroupSlots) {
      const MarkLane::Group group{&page, objects_with_mark(page, slot, state_.epoch.black()), slot};
      if (group.objects != 0) first().read(group);
    }
  });
}

}  // namespace arenascan::scan
