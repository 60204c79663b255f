// An allocation trace: what a program asked of its allocator, which pointers it stored into its objects and into its
// roots, and when it scanned. This is version 1 of the format.
//
// A record is 20 bytes, little endian, whatever it says, so that cutting, copying and changing bytes at random leaves a
// trace well formed:
//
//     0        8       12      16       18  19  20
//     | value  | object | other | thread | op | detail |
//
// The same as a line of text is `THREAD OPERATION FIELD...`; kShapes says which fields an operation has, in which
// order, and where they lie. What an operation does not use is 0, so each record has one line and each line one record.
//
//     1 malloc 5 100          thread 1 makes object 5, of 100 bytes
//     1 calloc 6 10 8         ten times 8 bytes
//     1 realloc 7 5 200       object 5 becomes object 7 (5 may be 0: none)
//     1 memalign 8 64 100     at a multiple of 64
//     1 new 9 24 1            operator new; the last is the alignment, 1 for the plain form
//     1 free 6                also delete, delete_array
//     1 store 7 16 8 3        word at byte 16 of object 7 = address of object 8 plus 3 (object 0: null)
//     1 root 2 8 3            the same for root number 2
//     1 scan
//     1 start 2               thread 1 starts thread 2
//     2 end
//
// Invariants of a trace as programs write it (a fuzzer's need not keep them, and who replays one must not mind)
//   1. Numbers of objects are not 0; one can be used again when its object is gone.
//   2. An object is made once and released at most once.
//
// A file of records begins with a header of 16 bytes: "arenatrc", version, bytes of a record. A file of lines begins
// with `# arenascan trace 1`. Lines that begin with # and empty ones say nothing.
//
// Threads: values, no state. Called by: all of api/trace, the command, the fuzz targets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace arenascan::trace {

inline constexpr std::uint32_t kVersion = 1;

enum class Op : std::uint8_t {
  kMalloc,
  kCalloc,
  kRealloc,
  kMemalign,
  kNew,
  kNewArray,
  kFree,
  kDelete,
  kDeleteArray,
  kStore,
  kRoot,
  kScan,
  kNotLeak,
  kIgnore,
  kNoScan,
  kDisable,
  kEnable,
  kStart,
  kEnd,
  kFork,
};
inline constexpr std::size_t kOpCount = static_cast<std::size_t>(Op::kFork) + 1;

struct Record {
  std::uint64_t value = 0;
  std::uint32_t object = 0;
  std::uint32_t other = 0;
  std::uint16_t thread = 0;
  Op op = Op::kScan;
  std::uint8_t detail = 0;

  [[nodiscard]] std::uint32_t low() const noexcept { return static_cast<std::uint32_t>(value); }
  [[nodiscard]] std::uint32_t high() const noexcept { return static_cast<std::uint32_t>(value >> 32); }
  [[nodiscard]] std::uint64_t alignment() const noexcept { return std::uint64_t{1} << detail; }

  friend bool operator==(const Record&, const Record&) = default;
};

// Where a field lies in the record.
enum class Place : std::uint8_t { kNone, kObject, kOther, kValue, kLow, kHigh, kAlignment };

struct Field {
  Place place = Place::kNone;
  std::string_view label;
};

struct Shape {
  std::string_view name;
  std::array<Field, 4> fields;
};

// By operation.
inline constexpr std::array<Shape, kOpCount> kShapes = {{
    {"malloc", {{{Place::kObject, "OBJECT"}, {Place::kValue, "SIZE"}}}},
    {"calloc", {{{Place::kObject, "OBJECT"}, {Place::kOther, "COUNT"}, {Place::kValue, "SIZE"}}}},
    {"realloc", {{{Place::kObject, "OBJECT"}, {Place::kOther, "OLD"}, {Place::kValue, "SIZE"}}}},
    {"memalign", {{{Place::kObject, "OBJECT"}, {Place::kAlignment, "ALIGNMENT"}, {Place::kValue, "SIZE"}}}},
    {"new", {{{Place::kObject, "OBJECT"}, {Place::kValue, "SIZE"}, {Place::kAlignment, "ALIGNMENT"}}}},
    {"new_array", {{{Place::kObject, "OBJECT"}, {Place::kValue, "SIZE"}, {Place::kAlignment, "ALIGNMENT"}}}},
    {"free", {{{Place::kObject, "OBJECT"}}}},
    {"delete", {{{Place::kObject, "OBJECT"}}}},
    {"delete_array", {{{Place::kObject, "OBJECT"}}}},
    {"store",
     {{{Place::kObject, "OBJECT"}, {Place::kLow, "OFFSET"}, {Place::kOther, "TARGET"}, {Place::kHigh, "INTO"}}}},
    {"root", {{{Place::kObject, "ROOT"}, {Place::kOther, "TARGET"}, {Place::kHigh, "INTO"}}}},
    {"scan", {}},
    {"not_leak", {{{Place::kObject, "OBJECT"}}}},
    {"ignore", {{{Place::kObject, "OBJECT"}}}},
    {"no_scan", {{{Place::kObject, "OBJECT"}}}},
    {"disable", {}},
    {"enable", {}},
    {"start", {{{Place::kOther, "THREAD"}}}},
    {"end", {}},
    {"fork", {}},
}};

[[nodiscard]] inline const Shape& shape_of(Op op) noexcept { return kShapes[static_cast<std::size_t>(op)]; }

// A field's value, and the same to set. set() is false when the value does not fit: an alignment is a power of two of
// at most 2^63, the others have the bits that they have.
[[nodiscard]] std::uint64_t get(const Record& record, Place place) noexcept;
[[nodiscard]] bool set(Record& record, Place place, std::uint64_t value) noexcept;

// What the operation does not use, 0.
[[nodiscard]] Record normalized(const Record& record) noexcept;

inline constexpr std::size_t kRecordBytes = 20;
using RecordBytes = std::array<std::uint8_t, kRecordBytes>;

[[nodiscard]] RecordBytes encode(const Record& record) noexcept;

// The record, normalized. Nothing when there is no such operation.
[[nodiscard]] std::optional<Record> decode(std::span<const std::uint8_t, kRecordBytes> bytes) noexcept;

}  // namespace arenascan::trace
