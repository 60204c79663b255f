#include "scan/marker.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>

namespace arenascan::scan {

using alloc::Object;
using alloc::Page;

bool Marker::begin(std::span<const AddressRange> unreadable) noexcept {
  unreadable_ = unreadable;
  reached_ = {};
  const auto in_use = heap_.in_use_locked();
  window_ = {in_use.begin, in_use.bytes};
  if (!grey_.reserve(in_use.bytes >> alloc::kPageShift)) return false;
  if (epoch_.advance()) {
    heap_.for_each_page_locked([](Page& page) {
      for (std::uint32_t i = 0; i < page.capacity; ++i) page.marks()[i].store(0, std::memory_order_relaxed);
    });
  }
  return true;
}

void Marker::mark_object(const Object& object) noexcept {
  const bool white = epoch_.is_white(object.mark().load(std::memory_order_relaxed));
  if (white) object.mark().store(epoch_.grey(), std::memory_order_relaxed);
  grey_.add_if(white, heap_.number_of(*object.page), object.index);
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
          filter_words(reinterpret_cast<const std::uintptr_t*>(from), count, window_, words_.data() + word_count_);
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
    look_up_batch(words_.data() + i, std::min(kBatch, word_count_ - i));
  }
  word_count_ = 0;
}

// Three passes, each of which only touches what the one before has asked for. Whether an object is white is as good as
// random, so nothing branches on it. A pointer to the beginning of a slot turns it grey whatever its state: what holds
// no object is sorted out when its page is read, 64 slots at a time.
void Marker::look_up_batch(const std::uintptr_t* words, std::size_t count) noexcept {
  struct Target {
    Page* page;
    std::uintptr_t word;
  };
  Target targets[kBatch];
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Page* const page = heap_.page_numbered((words[i] - window_.begin) >> alloc::kPageShift);
    __builtin_prefetch(page);
    targets[found] = {page, words[i]};
    found += page != nullptr ? 1 : 0;
  }
  struct Slot {
    std::atomic<std::uint8_t>* mark;
    std::uint32_t page;
    std::uint32_t index;
  };
  Slot slots[kBatch];
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < found; ++i) {
    Page& page = *targets[i].page;
    const std::uint32_t index = page.index_of(targets[i].word);
    if (page.address_of(index) != targets[i].word) {
      const Object object{&page, index};
      if (!alloc::state::is_allocated(object.state()) || !object.contains(targets[i].word)) continue;
    }
    std::atomic<std::uint8_t>* const mark = &page.marks()[index];
    __builtin_prefetch(mark, 1);
    slots[wanted++] = {mark, static_cast<std::uint32_t>(heap_.number_of(page)), index};
  }
  const std::uint8_t grey = epoch_.grey();
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::uint8_t mark = slots[i].mark->load(std::memory_order_relaxed);
    const bool white = epoch_.is_white(mark);
    slots[i].mark->store(white ? grey : mark, std::memory_order_relaxed);
    grey_.add_if(white, slots[i].page, slots[i].index);
  }
}

// Turns the grey ones of 64 slots black and returns which of them hold objects.
[[gnu::no_sanitize_thread]] std::uint64_t Marker::blacken(Page& page, std::uint32_t first) const noexcept {
  const __m128i grey = _mm_set1_epi8(static_cast<char>(epoch_.grey()));
  const __m128i one = _mm_set1_epi8(1);
  const __m128i occupancy = _mm_set1_epi8(alloc::state::kOccupancyMask);
  const __m128i allocated = _mm_set1_epi8(alloc::state::kAllocated);
  auto* const marks = reinterpret_cast<__m128i*>(page.marks() + first);
  const auto* const states = reinterpret_cast<const __m128i*>(page.states() + first);
  std::uint64_t objects = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const __m128i mark = _mm_loadu_si128(marks + i);
    const __m128i state = _mm_loadu_si128(states + i);
    const __m128i is_grey = _mm_cmpeq_epi8(mark, grey);
    const __m128i is_live = _mm_cmpeq_epi8(_mm_and_si128(state, occupancy), allocated);
    _mm_storeu_si128(marks + i, _mm_or_si128(mark, _mm_and_si128(is_grey, one)));
    const auto bits = static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_and_si128(is_grey, is_live)));
    objects |= std::uint64_t{bits} << (16 * i);
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

void Marker::read(const Group& group) noexcept {
  const bool is_plain = !group.page->annotated.load(std::memory_order_relaxed) && unreadable_.empty();
  if (is_plain && group.page->slot_bytes <= kSmallSlotBytes) {
    if (word_count_ + kMostWordsOfGroup > kWords) look_up();
    std::uint64_t bytes = 0;
    word_count_ += filter_objects(*group.page, group.first, group.objects, window_, words_.data() + word_count_, bytes);
    reached_.objects += static_cast<std::uint64_t>(std::popcount(group.objects));
    reached_.bytes += bytes;
    return;
  }
  for (std::uint64_t rest = group.objects; rest != 0; rest &= rest - 1) {
    read_object({group.page, group.first + static_cast<std::uint32_t>(std::countr_zero(rest))});
  }
}

void Marker::read_object(const Object& object) noexcept {
  const std::size_t bytes = object.bytes();
  ++reached_.objects;
  reached_.bytes += bytes;
  if (object.page->annotated.load(std::memory_order_relaxed) &&
      (object.state() & (alloc::state::kNoScan | alloc::state::kIgnored)) != 0) {
    return;
  }
  gather(object.address(), object.address() + bytes);
}

void Marker::drain() noexcept {
  for (;;) {
    fetch_ahead();
    if (ahead_begin_ != ahead_end_) {
      read(ahead_[ahead_begin_++ % kAhead]);
    } else if (word_count_ != 0) {
      look_up();
    } else {
      return;
    }
  }
}

}  // namespace arenascan::scan
