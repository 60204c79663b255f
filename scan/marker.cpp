#include "scan/marker.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>

#include "alloc/os.h"

namespace arenascan::scan {

using alloc::HeapView;
using alloc::Object;
using alloc::Page;

bool Marker::begin_locked() noexcept {
  reached_ = {};
  unreadable_ = {};
  reached_in_.clear();
  // A mark that was given up has left something.
  while (!grey_.empty()) grey_.pop();
  groups_ = 0;
  ahead_begin_ = ahead_end_ = 0;
  word_count_ = 0;
  if (!extend_locked()) return false;
  if (epoch_.advance()) {
    heap_.for_each_page_locked([](Page& page) {
      for (std::uint32_t i = 0; i < page.capacity; ++i) page.marks()[i].store(0, std::memory_order_relaxed);
    });
  }
  return true;
}

bool Marker::extend_locked() noexcept {
  constexpr std::size_t kRoomBytes = std::size_t{64} << 20;
  const auto range = heap_.range();
  const std::size_t used = heap_.in_use_locked().bytes;
  const std::size_t bytes = std::min(range.bytes, used + used / 4 + kRoomBytes);
  if (!words_.resize(kWords + kFilterSlack) || !grey_.reserve(bytes >> alloc::kPageShift) ||
      !reached_in_.resize(std::max(reached_in_.size(), bytes >> alloc::kPageShift))) {
    return false;
  }
  window_ = {range.begin, bytes};
  return true;
}

void Marker::mark_object(const Object& object) noexcept {
  if (object.mark().load(std::memory_order_relaxed) == epoch_.black()) return;
  object.mark().store(epoch_.grey(), std::memory_order_relaxed);
  GreyPages::Adder(grey_).add_if(true, heap_.number_of(*object.page), object.index);
}

void Marker::mark_annotated(std::size_t page_end) noexcept {
  const auto fetch_nothing = [](const Page&) {};
  heap_.for_each_page(0, page_end, fetch_nothing, [this](Page& page) {
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

void Marker::mark_range(AddressRange range) noexcept { gather(range.begin, range.end); }

void Marker::gather(std::uintptr_t begin, std::uintptr_t end) noexcept {
  constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
  const auto from_readable = [this](std::uintptr_t from, std::uintptr_t to) {
    from = (from + kWord - 1) & ~(kWord - 1);
    to &= ~(kWord - 1);
    while (from < to) {
      const std::size_t count = std::min<std::size_t>((to - from) / kWord, kChunk);
      if (word_count_ + count > kWords) look_up();
      word_count_ +=
          filter_words(reinterpret_cast<const std::uintptr_t*>(from), count, window_, words_.begin() + word_count_);
      from += count * kWord;
    }
  };
  if (unreadable_.empty()) {
    from_readable(begin, end);
  } else {
    for_each_readable(begin, end, from_readable);
  }
}

void Marker::look_up() noexcept {
  for (std::size_t i = 0; i < word_count_; i += kBatch) {
    look_up_batch(words_.begin() + i, std::min(kBatch, word_count_ - i));
  }
  word_count_ = 0;
}

namespace {

// What a lookup has to know of the classes whose spans are one page.
struct OnePageClass {
  std::uint64_t reciprocal;
  std::uint32_t slot_bytes;
  std::uint32_t marks;  // where they begin, from the Page
};

constexpr std::array<OnePageClass, alloc::PageEntry::kNoClass> kOnePageClass = [] {
  std::array<OnePageClass, alloc::PageEntry::kNoClass> classes{};
  for (unsigned c = 0; c < alloc::kOnePageClasses; ++c) {
    const auto slot = static_cast<std::uint32_t>(alloc::slot_bytes(c));
    classes[c] = {alloc::reciprocal(slot), slot,
                  static_cast<std::uint32_t>(sizeof(Page)) + Page::padded(alloc::span_capacity(c))};
  }
  return classes;
}();

bool points_into(Page* page, std::uint32_t index, std::uintptr_t word) noexcept {
  const Object object{page, index};
  return page != nullptr && alloc::state::is_allocated(object.state()) && object.contains(word);
}

}  // namespace

// Two passes: the first asks for the colours from memory, which lie anywhere; the second one changes them. Whether an
// object is white is as good as random, so nothing branches on it. A pointer to the beginning of a slot turns it grey
// whatever its state: what holds no object is sorted out when its page is read, 64 slots at a time. One that is grey
// already is added once more, which changes nothing and spares a second comparison.
void Marker::look_up_batch(const std::uintptr_t* words, std::size_t count) noexcept {
  struct Slot {
    std::uintptr_t mark;
    std::uint32_t page;
    std::uint32_t index;
  };
  const alloc::PageMap::Reader pages = heap_.pages();
  Slot slots[kBatch];
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uintptr_t word = words[i];
    const alloc::PageEntry entry = pages.find(word);
    Slot& slot = slots[found];
    if (entry.size_class() != alloc::PageEntry::kNoClass) {
      const OnePageClass& one = kOnePageClass[entry.size_class()];
      const std::uint64_t offset = word & (alloc::kPageBytes - 1);
      const auto index = static_cast<std::uint32_t>((offset * one.reciprocal) >> alloc::kReciprocalShift);
      if (std::uint64_t{index} * one.slot_bytes != offset && !points_into(entry.page(), index, word)) continue;
      slot = {reinterpret_cast<std::uintptr_t>(entry.page()) + one.marks + index,
              static_cast<std::uint32_t>((word - pages.begin()) >> alloc::kPageShift), index};
    } else {
      Page& page = *entry.page();
      const std::uint32_t index = page.index_of(word);
      if (index > page.capacity || (page.address_of(index) != word && !points_into(&page, index, word))) continue;
      slot = {reinterpret_cast<std::uintptr_t>(&page.marks()[index]), static_cast<std::uint32_t>(heap_.number_of(page)),
              index};
    }
    __builtin_prefetch(reinterpret_cast<const void*>(slot.mark), 1);
    found += entry.bits() != 0 ? 1 : 0;
  }
  const std::uint8_t grey = epoch_.grey();
  const std::uint8_t black = epoch_.black();
  GreyPages::Adder adder(grey_);
  for (std::size_t i = 0; i < found; ++i) {
    const Slot slot = slots[i];
    auto& mark = *reinterpret_cast<std::atomic<std::uint8_t>*>(slot.mark);
    const bool is_new = mark.load(std::memory_order_relaxed) != black;
    mark.store(is_new ? grey : black, std::memory_order_relaxed);
    adder.add_if(is_new, slot.page, slot.index);
  }
}

namespace {

// Of 16 slots: which have the mark `wanted` and hold objects.
[[gnu::no_sanitize_thread]] __m128i live_with_mark(const Page& page, std::uint32_t first, __m128i mark,
                                                   std::uint8_t wanted) noexcept {
  const __m128i state = _mm_loadu_si128(reinterpret_cast<const __m128i*>(page.states() + first));
  const __m128i occupancy = _mm_and_si128(state, _mm_set1_epi8(alloc::state::kOccupancyMask));
  return _mm_and_si128(_mm_cmpeq_epi8(mark, _mm_set1_epi8(static_cast<char>(wanted))),
                       _mm_cmpeq_epi8(occupancy, _mm_set1_epi8(alloc::state::kAllocated)));
}

std::uint64_t bits_of(__m128i bytes, std::uint32_t at) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(bytes))} << at;
}

}  // namespace

// Turns the grey ones of 64 slots black and returns which of them hold objects.
[[gnu::no_sanitize_thread]] std::uint64_t Marker::blacken(Page& page, std::uint32_t first) const noexcept {
  const __m128i grey = _mm_set1_epi8(static_cast<char>(epoch_.grey()));
  const __m128i one = _mm_set1_epi8(1);
  std::uint64_t objects = 0;
  for (std::uint32_t i = 0; i < GreyPages::kGroupSlots; i += 16) {
    auto* const marks = reinterpret_cast<__m128i*>(page.marks() + first + i);
    const __m128i mark = _mm_loadu_si128(marks);
    objects |= bits_of(live_with_mark(page, first + i, mark, epoch_.grey()), i);
    _mm_storeu_si128(marks, _mm_or_si128(mark, _mm_and_si128(_mm_cmpeq_epi8(mark, grey), one)));
  }
  return objects;
}

[[gnu::no_sanitize_thread]] std::uint64_t Marker::black_ones(const Page& page, std::uint32_t first) const noexcept {
  std::uint64_t objects = 0;
  for (std::uint32_t i = 0; i < GreyPages::kGroupSlots; i += 16) {
    const __m128i mark = _mm_loadu_si128(reinterpret_cast<const __m128i*>(page.marks() + first + i));
    objects |= bits_of(live_with_mark(page, first + i, mark, epoch_.black()), i);
  }
  return objects;
}

bool Marker::next_group(Group& group) noexcept {
  for (;;) {
    while (groups_ == 0) {
      if (grey_.empty()) return false;
      const GreyPages::Waiting waiting = grey_.pop();
      page_ = heap_.page_numbered(waiting.page);
      if (page_ != nullptr) groups_ = waiting.groups;
    }
    const auto first = static_cast<std::uint32_t>(std::countr_zero(groups_)) << GreyPages::kGroupShift;
    groups_ &= groups_ - 1;
    if (first >= page_->capacity) continue;
    group = {page_, blacken(*page_, first), first};
    if (group.objects != 0) return true;
  }
}

void Marker::fetch_ahead() noexcept {
  Group group;
  while (ahead_end_ - ahead_begin_ < kAhead && next_group(group)) {
    if (group.page->slot_bytes <= kSmallSlotBytes) {
      fetch_objects(*group.page, group.first, group.objects);
    } else {
      const Object object{group.page, group.first + static_cast<std::uint32_t>(std::countr_zero(group.objects))};
      __builtin_prefetch(&object.page->records[object.index]);
      __builtin_prefetch(reinterpret_cast<const void*>(object.address()));
    }
    ahead_[ahead_end_++ % kAhead] = group;
  }
}

Count Marker::read(const Group& group) noexcept {
  Count count;
  const bool is_plain = !group.page->annotated.load(std::memory_order_relaxed) && unreadable_.empty();
  if (is_plain && group.page->slot_bytes <= kSmallSlotBytes) {
    if (word_count_ + kMostWordsOfGroup > kWords) look_up();
    count.objects = static_cast<std::uint64_t>(std::popcount(group.objects));
    word_count_ +=
        filter_objects(*group.page, group.first, group.objects, window_, words_.begin() + word_count_, count.bytes);
    return count;
  }
  for (std::uint64_t rest = group.objects; rest != 0; rest &= rest - 1) {
    const Count one = read_object({group.page, group.first + static_cast<std::uint32_t>(std::countr_zero(rest))});
    count.objects += one.objects;
    count.bytes += one.bytes;
  }
  return count;
}

Count Marker::read_object(const Object& object) noexcept {
  const std::size_t bytes = object.bytes();
  if (is_read(object)) gather(object.address(), object.address() + bytes);
  return {1, bytes};
}

bool Marker::step() noexcept {
  fetch_ahead();
  if (ahead_begin_ != ahead_end_) {
    const Group& group = ahead_[ahead_begin_++ % kAhead];
    const Count count = read(group);
    auto& reached = reached_in_[heap_.number_of(*group.page)].groups[group.first >> GreyPages::kGroupShift];
    reached = static_cast<std::uint8_t>(reached + count.objects);
    reached_.objects += count.objects;
    reached_.bytes += count.bytes;
    return true;
  }
  if (word_count_ == 0) return false;
  look_up();
  return true;
}

std::uint32_t Marker::reached_in(const Page& page) const noexcept {
  const ReachedIn& reached = reached_in_[heap_.number_of(page)];
  __m128i sum = _mm_setzero_si128();
  for (std::size_t i = 0; i < sizeof(reached.groups); i += 16) {
    const __m128i counts = _mm_loadu_si128(reinterpret_cast<const __m128i*>(reached.groups + i));
    sum = _mm_add_epi64(sum, _mm_sad_epu8(counts, _mm_setzero_si128()));
  }
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(sum) + _mm_cvtsi128_si32(_mm_srli_si128(sum, 8)));
}

bool Marker::drain_until(std::uint64_t deadline_ns) noexcept {
  constexpr unsigned kStepsPerClock = 32;
  for (unsigned steps = 1; step(); ++steps) {
    if (steps % kStepsPerClock == 0 && alloc::os_monotonic_ns() >= deadline_ns) return false;
  }
  return true;
}

namespace {

std::size_t bytes_of(const Page& page) noexcept { return page.page_count * alloc::kPageBytes; }

}  // namespace

void Marker::reread(AddressRange written) noexcept {
  const std::uintptr_t end = std::min(written.end, window_.begin + window_.bytes);
  for (std::uintptr_t at = std::max(written.begin, window_.begin); at < end;) {
    const std::uintptr_t next = std::min(end, (at | (alloc::kPageBytes - 1)) + 1);
    if (const Page* const page = heap_.page_of(at)) reread_part(*page, {at, next});
    at = next;
  }
}

void Marker::reread_part(const Page& page, AddressRange part) noexcept {
  const std::uint32_t last = std::min(page.index_of(part.end - 1), page.capacity - 1);
  for (std::uint32_t index = page.index_of(part.begin); index <= last; ++index) {
    const Object object{const_cast<Page*>(&page), index};
    if (!is_black(page, index) || !is_read(object)) continue;
    const std::uintptr_t begin = std::max(object.address(), part.begin);
    const std::uintptr_t end = std::min(object.address() + object.bytes(), part.end);
    if (begin < end) gather(begin, end);
  }
}

// A span that reaches into the next piece is read as far as this one.
void Marker::reread_all(AddressRange piece) noexcept {
  const std::size_t first = (piece.begin - window_.begin) >> alloc::kPageShift;
  const std::size_t end = std::min((piece.end - window_.begin) >> alloc::kPageShift, page_end());
  const Page* const across = heap_.page_numbered(first);
  if (across != nullptr && heap_.number_of(*across) != first) {
    reread({piece.begin, std::min(piece.end, across->base + bytes_of(*across))});
  }
  heap_.for_each_page(first, end, HeapView::fetch_states_and_marks, [&](Page& page) {
    if (page.base + bytes_of(page) > piece.end) return reread_part(page, {page.base, piece.end});
    for (std::uint32_t first = 0; first < page.capacity; first += GreyPages::kGroupSlots) {
      const Group group{&page, black_ones(page, first), first};
      if (group.objects != 0) read(group);
    }
  });
}

}  // namespace arenascan::scan
