// Size classes: which slot size serves a request, and how an address inside a page becomes a slot index.
//
//   classes 0..7     16, 32, ... 128                          steps of 16
//   classes 8..87    144, 160, ... 256, 288, ... 131072       eight steps per doubling
//
// Slots waste at most an eighth of a request above 128 bytes. Slot sizes are multiples of 16, and a page starts at a
// multiple of 64 KiB, so a slot whose size is a multiple of A (a power of two up to 64 KiB) is aligned to A.
//
// A span is the run of 64 KiB pages that holds one class: one page up to 8 KiB, above that as many as eight slots need.
//
// All of it is constexpr and has no state.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace arenascan::alloc {

inline constexpr unsigned kPageShift = 16;
inline constexpr std::size_t kPageBytes = std::size_t{1} << kPageShift;
inline constexpr std::size_t kGranuleBytes = 16;

inline constexpr unsigned kClassCount = 88;
inline constexpr unsigned kLargeClass = kClassCount;  // one object, its own run of pages
inline constexpr std::size_t kMaxSlotBytes = 131072;
inline constexpr std::size_t kMaxSpanBytes = 8 * kMaxSlotBytes;

// The class of a request of 1 to kMaxSlotBytes bytes, by arithmetic.
constexpr unsigned class_of_slow(std::size_t bytes) noexcept {
  if (bytes <= 128) return static_cast<unsigned>((bytes + 15) / 16 - 1);
  const std::size_t last = bytes - 1;
  const unsigned width = static_cast<unsigned>(std::bit_width(last));
  return 8 + (width - 8) * 8 + static_cast<unsigned>((last >> (width - 4)) & 7);
}

constexpr std::size_t slot_bytes(unsigned size_class) noexcept {
  if (size_class < 8) return (size_class + 1) * kGranuleBytes;
  const unsigned doubling = (size_class - 8) / 8;
  const unsigned step = (size_class - 8) % 8 + 1;
  return (std::size_t{128} + step * std::size_t{16}) << doubling;
}

inline constexpr std::size_t kMinSpanSlots = 8;

constexpr std::uint32_t span_pages(unsigned size_class) noexcept {
  const std::size_t slot = slot_bytes(size_class);
  if (slot * kMinSpanSlots <= kPageBytes) return 1;
  return static_cast<std::uint32_t>((slot * kMinSpanSlots + kPageBytes - 1) >> kPageShift);
}

// The classes below this one have spans of one page.
inline constexpr unsigned kOnePageClasses = [] {
  unsigned size_class = 0;
  while (span_pages(size_class) == 1) ++size_class;
  return size_class;
}();

constexpr std::uint32_t span_capacity(unsigned size_class) noexcept {
  return static_cast<std::uint32_t>(span_pages(size_class) * kPageBytes / slot_bytes(size_class));
}

// offset / slot for every offset inside a span is (offset * reciprocal(slot)) >> kReciprocalShift: with offsets below
// 2^20 and the reciprocal rounded up, the error stays below 2^-28, less than one slot's smallest fraction.
inline constexpr unsigned kReciprocalShift = 48;
constexpr std::uint64_t reciprocal(std::size_t slot) noexcept {
  return ((std::uint64_t{1} << kReciprocalShift) + slot - 1) / slot;
}
static_assert(kMaxSpanBytes <= std::size_t{1} << 20);

inline constexpr std::size_t kTableBytes = 16384;  // requests up to here are looked up
inline constexpr auto kClassTable = [] {
  std::array<std::uint8_t, kTableBytes / kGranuleBytes + 1> table{};
  for (std::size_t i = 1; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(class_of_slow(i * kGranuleBytes));
  return table;  // entry 0 stays class 0: a request of no bytes gets the smallest slot
}();

// The class of a request of 0 to kTableBytes bytes.
inline unsigned class_of_small(std::size_t bytes) noexcept {
  return kClassTable[(bytes + kGranuleBytes - 1) / kGranuleBytes];
}

// The class of a request of 0 to kMaxSlotBytes bytes.
inline unsigned class_of(std::size_t bytes) noexcept {
  return bytes <= kTableBytes ? class_of_small(bytes) : class_of_slow(bytes);
}

// The smallest class whose slots hold `bytes` and are aligned to `alignment`, or kLargeClass.
constexpr unsigned class_of_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  if (bytes > kMaxSlotBytes || alignment > kPageBytes) return kLargeClass;
  for (unsigned c = class_of_slow(bytes == 0 ? 1 : bytes); c < kClassCount; ++c) {
    if (slot_bytes(c) % alignment == 0) return c;
  }
  return kLargeClass;
}

}  // namespace arenascan::alloc
