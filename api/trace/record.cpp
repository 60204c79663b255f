#include "api/trace/record.h"

#include <bit>
#include <limits>

namespace arenascan::trace {
namespace {

constexpr std::uint8_t kMostAlignmentBits = 63;

template <typename T>
void put(RecordBytes& bytes, std::size_t at, T value) noexcept {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes[at + i] = static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i));
}

template <typename T>
T take(std::span<const std::uint8_t, kRecordBytes> bytes, std::size_t at) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{bytes[at + i]} << (8 * i);
  return static_cast<T>(value);
}

}  // namespace

std::uint64_t get(const Record& record, Place place) noexcept {
  switch (place) {
    case Place::kNone: return 0;
    case Place::kObject: return record.object;
    case Place::kOther: return record.other;
    case Place::kValue: return record.value;
    case Place::kLow: return record.low();
    case Place::kHigh: return record.high();
    case Place::kAlignment: return record.alignment();
  }
  return 0;
}

bool set(Record& record, Place place, std::uint64_t value) noexcept {
  const bool is_short = value <= std::numeric_limits<std::uint32_t>::max();
  const auto word = static_cast<std::uint32_t>(value);
  switch (place) {
    case Place::kNone: return value == 0;
    case Place::kObject: record.object = word; return is_short;
    case Place::kOther: record.other = word; return is_short;
    case Place::kValue: record.value = value; return true;
    case Place::kLow: record.value = std::uint64_t{record.high()} << 32 | word; return is_short;
    case Place::kHigh: record.value = value << 32 | record.low(); return is_short;
    case Place::kAlignment:
      if (!std::has_single_bit(value)) return false;
      record.detail = static_cast<std::uint8_t>(std::countr_zero(value));
      return true;
  }
  return false;
}

Record normalized(const Record& record) noexcept {
  Record plain;
  plain.thread = record.thread;
  plain.op = record.op;
  Record source = record;
  source.detail &= kMostAlignmentBits;
  for (const Field& field : shape_of(record.op).fields)
    static_cast<void>(set(plain, field.place, get(source, field.place)));
  return plain;
}

RecordBytes encode(const Record& record) noexcept {
  RecordBytes bytes{};
  put(bytes, 0, record.value);
  put(bytes, 8, record.object);
  put(bytes, 12, record.other);
  put(bytes, 16, record.thread);
  bytes[18] = static_cast<std::uint8_t>(record.op);
  bytes[19] = record.detail;
  return bytes;
}

std::optional<Record> decode(std::span<const std::uint8_t, kRecordBytes> bytes) noexcept {
  if (bytes[18] >= kOpCount) return std::nullopt;
  Record record;
  record.value = take<std::uint64_t>(bytes, 0);
  record.object = take<std::uint32_t>(bytes, 8);
  record.other = take<std::uint32_t>(bytes, 12);
  record.thread = take<std::uint16_t>(bytes, 16);
  record.op = static_cast<Op>(bytes[18]);
  record.detail = bytes[19];
  return normalized(record);
}

}  // namespace arenascan::trace
