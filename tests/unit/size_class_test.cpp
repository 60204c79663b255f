// Size classes, exhaustively: every request has the smallest class that fits, every offset its slot.
#include <doctest/doctest.h>

#include "alloc/size_class.h"

using namespace arenascan::alloc;

TEST_CASE("every request gets the smallest class that holds it") {
  bool right = true;
  for (std::size_t bytes = 1; bytes <= kMaxSlotBytes; ++bytes) {
    const unsigned c = class_of(bytes);
    right = right && c < kClassCount && slot_bytes(c) >= bytes && (c == 0 || slot_bytes(c - 1) < bytes);
    right = right && class_of_slow(bytes) == c;
  }
  CHECK(right);
  CHECK(class_of(0) == 0);
  CHECK(slot_bytes(kClassCount - 1) == kMaxSlotBytes);
}

TEST_CASE("slots are multiples of the granule and waste at most an eighth above 128 bytes") {
  for (unsigned c = 0; c < kClassCount; ++c) {
    CHECK(slot_bytes(c) % kGranuleBytes == 0);
    if (c > 8) CHECK(slot_bytes(c) - slot_bytes(c - 1) <= (slot_bytes(c - 1) + 1) / 8 + kGranuleBytes / 8);
    CHECK(span_pages(c) * kPageBytes <= kMaxSpanBytes);
    CHECK(span_capacity(c) >= (slot_bytes(c) == kPageBytes / 8 ? 8U : 7U));
  }
}

TEST_CASE("the reciprocal divides exactly at every offset of every span") {
  for (unsigned c = 0; c < kClassCount; ++c) {
    const std::size_t slot = slot_bytes(c);
    const std::uint64_t r = reciprocal(slot);
    bool exact = true;
    for (std::uint64_t offset = 0; offset < span_pages(c) * kPageBytes; ++offset) {
      exact = exact && (offset * r) >> kReciprocalShift == offset / slot;
    }
    CAPTURE(slot);
    CHECK(exact);
  }
}

TEST_CASE("aligned requests get a class whose slots are aligned, or a run of their own") {
  for (std::size_t alignment = 16; alignment <= 4 * kPageBytes; alignment *= 2) {
    for (std::size_t bytes = 0; bytes <= kMaxSlotBytes; bytes += 97) {
      const unsigned c = class_of_aligned(bytes, alignment);
      if (c == kLargeClass) continue;
      REQUIRE(slot_bytes(c) >= bytes);
      REQUIRE(slot_bytes(c) % alignment == 0);
      REQUIRE(kPageBytes % alignment == 0);
    }
  }
  CHECK(class_of_aligned(10, 2 * kPageBytes) == kLargeClass);
  CHECK(class_of_aligned(kMaxSlotBytes + 1, 16) == kLargeClass);
}
