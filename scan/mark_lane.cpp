#include "scan/mark_lane.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::scan {

using alloc::Object;
using alloc::Page;

bool MarkLane::reserve(std::size_t pages, std::size_t lanes) noexcept {
  return words_.resize(kWords + kFilterSlack) &&
         (lanes == 1 || outbox_.resize(std::max(outbox_.size(), lanes * kWords))) && grey_.reserve(pages);
}

void MarkLane::begin(MarkState& state) noexcept {
  state_ = &state;
  reached_ = {};
  grey_.begin(state.heap);
  groups_ = 0;
  ahead_begin_ = ahead_end_ = 0;
  word_count_ = 0;
  outgoing_.fill(0);
}

void MarkLane::mark_object(const Object& object) noexcept {
  if (!state_->epoch.is_white(object.mark().load(std::memory_order_relaxed))) return;
  object.mark().store(state_->epoch.grey(), std::memory_order_relaxed);
  GreyPages::Adder(grey_).add_if(true, state_->heap.number_of(*object.page), object.index);
}

void MarkLane::gather(std::uintptr_t begin, std::uintptr_t end) noexcept {
  if (state_->closed.parts.empty()) return gather_words(begin, end);
  state_->for_each_readable(begin, end, [this](std::uintptr_t from, std::uintptr_t to) { gather_words(from, to); });
  const auto touched = state_->closed.touched;
  for (auto run = first_behind(touched, begin); run != touched.end() && run->begin < end; ++run) {
    gather_closed({std::max(begin, run->begin), std::min(end, run->end)});
  }
}

void MarkLane::gather_closed(AddressRange range) noexcept {
  const Reading reading = for_each_closed_piece(
      range, [this](AddressRange piece, std::uintptr_t) { gather_words(piece.begin, piece.end); });
  if (reading != Reading::kWhole) state_->has_missed.store(true, std::memory_order_relaxed);
}

void MarkLane::gather_words(std::uintptr_t begin, std::uintptr_t end) noexcept {
  if (!state_->forms.are_plain()) {
    state_->forms.for_each_word(begin, end, [this](std::uintptr_t word, std::uintptr_t) {
      if (word - state_->window.begin >= state_->window.bytes) return;
      if (word_count_ == kWords) look_up();
      words_[word_count_++] = word;
    });
    return;
  }
  constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
  begin = (begin + kWord - 1) & ~(kWord - 1);
  end &= ~(kWord - 1);
  while (begin < end) {
    const std::size_t count = std::min<std::size_t>((end - begin) / kWord, kChunk);
    if (word_count_ + count > kWords) look_up();
    word_count_ += filter_words(reinterpret_cast<const std::uintptr_t*>(begin), count, state_->window,
                                words_.begin() + word_count_);
    begin += count * kWord;
  }
}

void MarkLane::look_up() noexcept {
  const std::size_t count = exchange_ == nullptr ? word_count_ : keep_own();
  look_up_all(words_.begin(), count);
  word_count_ = 0;
}

void MarkLane::look_up_all(const std::uintptr_t* words, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; i += kBatch) look_up_batch(words + i, std::min(kBatch, count - i));
}

namespace {

bool points_into(Page* page, std::uint32_t index, std::uintptr_t word) noexcept {
  const Object object{page, index};
  return page != nullptr && alloc::state::is_allocated(object.state()) && object.contains(word);
}

}  // namespace

// Two passes: the first asks for the colours from memory, which lie anywhere; the second one changes them. Whether an
// object is white is as good as random, so nothing branches on it. A pointer to the beginning of a slot turns it grey
// whatever its state: what holds no object is sorted out when its page is read, 64 slots at a time.
template <bool kTell>
std::uint64_t MarkLane::look_up_batch(const std::uintptr_t* words, std::size_t count) noexcept {
  std::uint64_t marked = 0;
  struct Slot {
    std::uintptr_t mark;
    std::uint32_t page;
    std::uint32_t index;
  };
  const alloc::PageMap::Reader pages = state_->heap.pages();
  Slot slots[kBatch];
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uintptr_t word = words[i];
    const alloc::PageEntry entry = pages.find(word);
    Slot& slot = slots[found];
    if (entry.size_class() != alloc::PageEntry::kNoClass) {
      const auto& one = alloc::HeapView::kOnePageSlots[entry.size_class()];
      const std::uint64_t offset = word & (alloc::kPageBytes - 1);
      const std::uint32_t index = one.index_of(offset);
      if (std::uint64_t{index} * one.bytes != offset && !points_into(entry.page(), index, word)) continue;
      slot = {reinterpret_cast<std::uintptr_t>(entry.page()) + one.marks + index,
              static_cast<std::uint32_t>((word - pages.begin()) >> alloc::kPageShift), index};
    } else {
      Page& page = *entry.page();
      const std::uint32_t index = page.index_of(word);
      if (index > page.capacity || (page.address_of(index) != word && !points_into(&page, index, word))) continue;
      slot = {reinterpret_cast<std::uintptr_t>(&page.marks()[index]),
              static_cast<std::uint32_t>(state_->heap.number_of(page)), index};
    }
    __builtin_prefetch(reinterpret_cast<const void*>(slot.mark), 1);
    found += entry.bits() != 0 ? 1 : 0;
    if (kTell) marked |= std::uint64_t{entry.bits() != 0} << i;
  }
  const Epoch epoch = state_->epoch;
  GreyPages::Adder adder(grey_);
  for (std::size_t i = 0; i < found; ++i) {
    const Slot slot = slots[i];
    ARENA_AUDIT(exchange_ == nullptr || exchange_->owner_of(slot.page) == self_);
    auto& mark = *reinterpret_cast<std::atomic<std::uint8_t>*>(slot.mark);
    const std::uint8_t old = mark.load(std::memory_order_relaxed);
    const bool is_white = epoch.is_white(old);
    mark.store(is_white ? epoch.grey() : old, std::memory_order_relaxed);
    adder.add_if(is_white, slot.page, slot.index);
  }
  return marked;
}

[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void MarkLane::gather_unknown(std::uintptr_t begin,
                                                                                    std::uintptr_t end,
                                                                                    std::uintptr_t* known) noexcept {
  constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
  const auto* const words = reinterpret_cast<const std::uintptr_t*>(begin);
  const std::size_t count = (end - begin) / kWord;
  std::uintptr_t differing[kBatch];
  std::uint32_t places[kBatch];
  for (std::size_t i = 0; i < count;) {
    std::size_t found = 0;
    for (; i < count && found < kBatch; ++i) {
      const std::uintptr_t word = __atomic_load_n(words + i, __ATOMIC_ACQUIRE);
      if (word == known[i]) continue;
      known[i] = word;
      differing[found] = word;
      places[found] = static_cast<std::uint32_t>(i);
      found += word - state_->window.begin < state_->window.bytes ? 1 : 0;
    }
    const std::uint64_t marked = look_up_batch<true>(differing, found);
    for (std::size_t k = 0; k < found; ++k) {
      if ((marked >> k & 1) == 0) known[places[k]] = 0;
    }
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
[[gnu::no_sanitize_thread]] std::uint64_t MarkLane::blacken(Page& page, std::uint32_t first) const noexcept {
  const __m128i grey = _mm_set1_epi8(static_cast<char>(state_->epoch.grey()));
  const __m128i one = _mm_set1_epi8(1);
  std::uint64_t objects = 0;
  for (std::uint32_t i = 0; i < GreyPages::kGroupSlots; i += 16) {
    auto* const marks = reinterpret_cast<__m128i*>(page.marks() + first + i);
    const __m128i mark = _mm_loadu_si128(marks);
    objects |= bits_of(live_with_mark(page, first + i, mark, state_->epoch.grey()), i);
    _mm_storeu_si128(marks, _mm_or_si128(mark, _mm_and_si128(_mm_cmpeq_epi8(mark, grey), one)));
  }
  return objects;
}

[[gnu::no_sanitize_thread]] std::uint64_t objects_with_mark(const Page& page, std::uint32_t first,
                                                            std::uint8_t wanted) noexcept {
  std::uint64_t objects = 0;
  for (std::uint32_t i = 0; i < GreyPages::kGroupSlots; i += 16) {
    const __m128i mark = _mm_loadu_si128(reinterpret_cast<const __m128i*>(page.marks() + first + i));
    objects |= bits_of(live_with_mark(page, first + i, mark, wanted), i);
  }
  return objects;
}

bool MarkLane::next_group(Group& group) noexcept {
  for (;;) {
    while (groups_ == 0) {
      if (grey_.empty()) return false;
      const GreyPages::Waiting waiting = grey_.pop();
      page_ = state_->heap.page_numbered(waiting.page);
      if (page_ != nullptr) groups_ = waiting.groups;
    }
    const auto first = static_cast<std::uint32_t>(std::countr_zero(groups_)) << GreyPages::kGroupShift;
    groups_ &= groups_ - 1;
    if (first >= page_->capacity) continue;
    group = {page_, blacken(*page_, first), first};
    if (group.objects != 0) return true;
  }
}

void MarkLane::fetch_ahead() noexcept {
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

Count MarkLane::read(const Group& group) noexcept {
  Count count;
  const bool is_plain = !group.page->annotated.load(std::memory_order_relaxed) && state_->closed.parts.empty() &&
                        state_->forms.are_plain();
  if (is_plain && group.page->slot_bytes <= kSmallSlotBytes) {
    if (word_count_ + kMostWordsOfGroup > kWords) look_up();
    count.objects = static_cast<std::uint64_t>(std::popcount(group.objects));
    word_count_ += filter_objects(*group.page, group.first, group.objects, state_->window, words_.begin() + word_count_,
                                  count.bytes);
    return count;
  }
  for (std::uint64_t rest = group.objects; rest != 0; rest &= rest - 1) {
    const Count one = read_object({group.page, group.first + static_cast<std::uint32_t>(std::countr_zero(rest))});
    count.objects += one.objects;
    count.bytes += one.bytes;
  }
  return count;
}

Count MarkLane::read_object(const Object& object) noexcept {
  const std::size_t bytes = object.bytes();
  const std::uintptr_t begin = object.address();
  if (!is_read(object)) return {1, bytes};
  if (state_->quiet == nullptr || bytes < QuietPages::kLeastObjectBytes) {
    gather(begin, begin + bytes);
  } else {
    state_->quiet->for_each_loud_part(begin, begin + bytes,
                                      [this](std::uintptr_t from, std::uintptr_t to) { gather_words(from, to); });
  }
  return {1, bytes};
}

bool MarkLane::step() noexcept {
  fetch_ahead();
  if (read_next()) return true;
  if (word_count_ == 0) return false;
  look_up();
  return true;
}

bool MarkLane::read_next() noexcept {
  if (ahead_begin_ == ahead_end_) return false;
  const Group& group = ahead_[ahead_begin_++ % kAhead];
  const Count count = read(group);
  const std::size_t page = state_->heap.number_of(*group.page);
  auto& reached = state_->reached_in[page].groups[group.first >> GreyPages::kGroupShift];
  reached = static_cast<std::uint8_t>(reached + count.objects);
  state_->reached_of[page] += static_cast<std::uint32_t>(count.objects);
  reached_.objects += count.objects;
  reached_.bytes += count.bytes;
  return true;
}

void MarkLane::hand_out(std::span<MarkLane> lanes, const Exchange& exchange) noexcept {
  while (read_next()) {
  }
  give_back_page();
  grey_.take_all([&](const GreyPages::Waiting& waiting) { lanes[exchange.owner_of(waiting.page)].grey_.add(waiting); });
}

void MarkLane::give_back_page() noexcept {
  if (groups_ != 0) grey_.add({state_->heap.number_of(*page_), groups_});
  groups_ = 0;
}

void MarkLane::share(Exchange& exchange, std::size_t self, const Until* until) noexcept {
  constexpr unsigned kStepsPerQuestion = 32;
  exchange_ = &exchange;
  self_ = self;
  for (unsigned steps = 1; !exchange.has_ended(); ++steps) {
    receive();
    if (step()) {
      if (until != nullptr && steps % kStepsPerQuestion == 0 && (*until)()) exchange.end();
    } else if (!exchange.park(self, until)) {
      break;
    }
  }
  exchange_ = nullptr;
}

void MarkLane::take_over(MarkLane& from, Exchange& exchange, std::size_t number) noexcept {
  const auto take = [this](const std::uintptr_t* words, std::size_t count) { look_up_batch(words, count); };
  exchange.receive(number, kBatch, take);
  for (std::size_t to = 0; to < exchange.lanes(); ++to) {
    look_up_all(from.outbox(to), std::exchange(from.outgoing_[to], 0));
  }
  if (&from == this) return;
  look_up_all(from.words_.begin(), std::exchange(from.word_count_, 0));
  while (from.ahead_begin_ != from.ahead_end_) {
    if (ahead_end_ - ahead_begin_ == kAhead) read_next();
    ahead_[ahead_end_++ % kAhead] = from.ahead_[from.ahead_begin_++ % kAhead];
  }
  from.give_back_page();
  from.grey_.take_all([this](const GreyPages::Waiting& waiting) { grey_.add(waiting); });
  const Count count = std::exchange(from.reached_, {});
  reached_.objects += count.objects;
  reached_.bytes += count.bytes;
}

bool MarkLane::receive() noexcept {
  return exchange_->receive(self_, kBatch,
                            [this](const std::uintptr_t* words, std::size_t count) { look_up_batch(words, count); });
}

// Moves the words that point to own pages to the front, and sends the others. Returns how many the former are.
std::size_t MarkLane::keep_own() noexcept {
  const alloc::PageMap::Reader pages = state_->heap.pages();
  std::array<std::uintptr_t*, kMostLanes> to{};
  for (std::size_t lane = 0; lane < exchange_->lanes(); ++lane) {
    to[lane] = lane == self_ ? words_.begin() : outbox(lane) + outgoing_[lane];
  }
  for (std::size_t i = 0; i < word_count_; ++i) {
    const std::uintptr_t word = words_[i];
    const alloc::PageEntry entry = pages.find(word);
    if (entry.bits() == 0) continue;
    const std::size_t number = entry.size_class() != alloc::PageEntry::kNoClass
                                   ? (word - pages.begin()) >> alloc::kPageShift
                                   : state_->heap.number_of(*entry.page());
    *to[exchange_->owner_of(number)]++ = word;
  }
  for (std::size_t lane = 0; lane < exchange_->lanes(); ++lane) {
    if (lane == self_) continue;
    outgoing_[lane] = static_cast<std::size_t>(to[lane] - outbox(lane));
    send_all(lane);
  }
  return static_cast<std::size_t>(to[self_] - words_.begin());
}

// Words that are not taken any more, since the sharing has ended, stay for take_over().
void MarkLane::send_all(std::size_t lane) noexcept {
  std::size_t sent = 0;
  while (sent < outgoing_[lane] && !exchange_->has_ended()) {
    const std::size_t taken = exchange_->send(self_, lane, outbox(lane) + sent, outgoing_[lane] - sent);
    sent += taken;
    if (taken == 0 && !receive()) alloc::os_yield();
  }
  outgoing_[lane] -= sent;
  std::memmove(outbox(lane), outbox(lane) + sent, outgoing_[lane] * sizeof(std::uintptr_t));
}

}  // namespace arenascan::scan
