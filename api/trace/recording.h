// What the recorder writes while a program runs, and how it becomes a trace.
//
// A recording knows objects by address, as malloc does; numbers are given afterwards, when all is known. Each thread
// writes into blocks of the file that it has to itself, so recording needs no lock; a sequence number says in which
// order things were. It is taken before an object is released and after one was made: so a release always comes before
// the next object at that address.
//
//     header, 4 KiB       "arenarec", version, bytes of a record
//     records, 32 bytes each, in no order; all zero: not used
//
// A realloc is two records, kRealloc with its old address (before) and kRealloc with `detail` 1, the new address and
// the size (after); another thread may be given the old address in between.
//
// Threads: values. Called by: recorder (writing), file (reading).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/trace/file.h"

namespace arenascan::trace {

struct RawRecord {
  std::uint64_t sequence;  // from 1
  std::uint64_t address;
  std::uint64_t value;  // size
  std::uint32_t count;  // of calloc
  std::uint16_t thread;
  std::uint8_t op;
  std::uint8_t detail;  // alignment as a power of two; of kRealloc, which half
};
static_assert(sizeof(RawRecord) == 32);

struct RawHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t record_bytes;
  std::uint8_t unused[4080];
};
static_assert(sizeof(RawHeader) == 4096);

inline constexpr std::string_view kRawMagic = "arenarec";
inline constexpr RawHeader kRawHeader = {{'a', 'r', 'e', 'n', 'a', 'r', 'e', 'c'}, 1, sizeof(RawRecord), {}};

// The trace of a recording. Throws BadTrace.
[[nodiscard]] Trace read_recording(std::istream& in, const std::string& name);

}  // namespace arenascan::trace
