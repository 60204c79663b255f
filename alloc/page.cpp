#include "alloc/page.h"

#include <cstring>
#include <new>

#include "alloc/check.h"
#include "alloc/misuse.h"

namespace arenascan::alloc {
namespace {

// std::popcount is a call into the compiler's library where the processor's instruction cannot be taken for granted.
std::uint32_t count_bits(std::uint64_t bits) noexcept {
  bits -= bits >> 1 & 0x5555555555555555;
  bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
  bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F;
  return static_cast<std::uint32_t>(bits * 0x0101010101010101 >> 56);
}

// Slots that a word must offer while there are untouched ones behind. A page with few objects stays dense: its slots
// come round while they are still in the processor's caches.
constexpr std::uint32_t kWorthTaking = 16;

GrabbedSlots grab_word(Page& page, std::uint32_t word, std::uint32_t count) noexcept {
  const GrabbedSlots slots{page.local->free_bits()[word], word * 64};
  page.local->free_bits()[word] = 0;
  page.local->used += count;
  return slots;
}

// Offsets of the arrays from their beginning.
struct Extent {
  std::uint32_t capacity;
  std::uint32_t words;
  std::uint32_t records;  // behind states and marks
  std::uint32_t local;
  std::uint32_t remote;
  std::uint32_t end;
};

Extent extent_of(unsigned size_class) noexcept {
  Extent e{};
  e.capacity = size_class == kLargeClass ? 1 : span_capacity(size_class);
  e.words = (e.capacity + 63) / 64;
  e.records = 2 * Page::padded(e.capacity);
  const auto whole_lines = [](std::size_t bytes) {
    return static_cast<std::uint32_t>((bytes + 63) & ~std::size_t{63});
  };
  e.local = whole_lines(e.records + sizeof(std::uint64_t) * e.capacity);
  e.remote = whole_lines(e.local + sizeof(PageLocal) + sizeof(std::uint64_t) * e.words);
  e.end = whole_lines(e.remote + sizeof(PageRemote) + sizeof(std::uint64_t) * e.words);
  return e;
}

}  // namespace

std::size_t page_metadata_bytes(unsigned size_class) noexcept { return sizeof(Page) + extent_of(size_class).end; }

void page_set_up(Page& page, unsigned size_class, std::uintptr_t base, std::uint32_t page_count) noexcept {
  const Extent e = extent_of(size_class);
  new (&page) Page{};
  page.base = base;
  page.page_count = page_count;
  page.size_class = size_class;
  page.capacity = e.capacity;
  page.word_count = e.words;
  if (size_class == kLargeClass) {
    page.slot_bytes = std::size_t{page_count} * kPageBytes;
  } else {
    page.slot_bytes = slot_bytes(size_class);
    page.reciprocal = reciprocal(page.slot_bytes);
  }
  auto* arrays = reinterpret_cast<unsigned char*>(&page + 1);
  std::memset(arrays, 0, e.records);  // states and marks
  page.records = reinterpret_cast<Atomic<std::uint64_t>*>(arrays + e.records);
  page.local = new (arrays + e.local) PageLocal{};
  std::memset(page.local->free_bits(), 0xFF, e.words * sizeof(std::uint64_t));
  if (e.capacity % 64 != 0) page.local->free_bits()[e.words - 1] = (std::uint64_t{1} << (e.capacity % 64)) - 1;
  page.remote = new (arrays + e.remote) PageRemote{};
  std::memset(static_cast<void*>(page.remote->bits()), 0, e.words * sizeof(std::uint64_t));
}

GrabbedSlots page_grab(Page& page) noexcept {
  const bool has_untouched = page.words_in_use < page.word_count;
  const std::uint32_t wanted = has_untouched ? kWorthTaking : 1;
  for (std::uint32_t i = 0; i < page.words_in_use; ++i) {
    const std::uint32_t word = page.next_word;
    page.next_word = word + 1 < page.words_in_use ? word + 1 : 0;
    const std::uint32_t count = count_bits(page.local->free_bits()[word]);
    if (count >= wanted) return grab_word(page, word, count);
  }
  if (!has_untouched) return {};
  const std::uint32_t word = page.words_in_use++;
  return grab_word(page, word, count_bits(page.local->free_bits()[word]));
}

void page_put_back(Page& page, const GrabbedSlots& slots) noexcept {
  page.local->free_bits()[slots.first / 64] |= slots.bits;
  page.local->used -= count_bits(slots.bits);
  page.next_word = slots.first / 64;
}

bool page_drain_remote(Page& page) noexcept {
  std::uint32_t drained = 0;
  for (std::uint32_t w = 0; w < page.word_count; ++w) {
    if (page.remote->bits()[w].load(std::memory_order_relaxed) == 0) continue;
    // Acquire: what the freeing threads did to the objects, and their count in `pending`, come before.
    const std::uint64_t freed = page.remote->bits()[w].exchange(0, std::memory_order_acquire);
    for (std::uint64_t rest = freed; rest != 0; rest &= rest - 1) {
      const std::uint32_t index = w * 64 + static_cast<std::uint32_t>(std::countr_zero(rest));
      if (page.states()[index].load(std::memory_order_relaxed) != state::kRemotelyFreed) {
        report_double_free(page, index);
      }
      page.states()[index].store(state::kFree, std::memory_order_relaxed);
    }
    page.local->free_bits()[w] |= freed;
    drained += count_bits(freed);
  }
  page.local->used -= drained;
  return page.remote->pending.fetch_sub(drained, std::memory_order_acq_rel) == drained;
}

bool page_free_remote(Page& page, std::uint32_t index) noexcept {
  auto& slot = page.states()[index];
  if (!state::is_allocated(slot.load(std::memory_order_relaxed))) report_double_free(page, index);
  slot.store(state::kRemotelyFreed, std::memory_order_relaxed);
  const bool first = page.remote->pending.fetch_add(1, std::memory_order_acquire) == 0;
  const std::uint64_t bit = std::uint64_t{1} << (index % 64);
  // Release: this thread's use of the object, and its count above, come before the owner's drain.
  if ((page.remote->bits()[index / 64].fetch_or(bit, std::memory_order_release) & bit) != 0) {
    report_double_free(page, index);
  }
  return first;
}

bool page_is_valid(const Page& page, const GrabbedSlots& grabbed) noexcept {
  std::uint32_t free = 0;
  std::uint32_t remote = 0;
  for (std::uint32_t i = 0; i < page.capacity; ++i) {
    const bool free_bit = (page.local->free_bits()[i / 64] >> (i % 64) & 1) != 0;
    const bool remote_bit = (page.remote->bits()[i / 64].load(std::memory_order_acquire) >> (i % 64) & 1) != 0;
    const bool is_grabbed = i / 64 == grabbed.first / 64 && (grabbed.bits >> (i % 64) & 1) != 0;
    const std::uint8_t value = page.states()[i].load(std::memory_order_acquire);
    if ((free_bit || is_grabbed) != (value == state::kFree) || (free_bit && is_grabbed)) return false;
    if (remote_bit && value != state::kRemotelyFreed) return false;
    free += free_bit ? 1 : 0;
    remote += remote_bit ? 1 : 0;
  }
  return page.local->used + free == page.capacity && remote <= page.local->used;
}

}  // namespace arenascan::alloc
