// The process's mappings, as /proc tells them. The calling thread is asked
// (/proc/thread-self): /proc/self is the main thread, which has no mappings any more when it has ended before the
// others.
//
// The kernel writes a text, or, since Linux 6.11, answers questions (PROCMAP_QUERY) for one mapping each. A line of the
// text takes 0.2 us, 0.6 when it ends in a path; a question 0.5, but what nobody wants to know is not asked for. So a
// process of many mappings is read as text, others by questions: half as long for one with ten libraries.
//
// Threads: the scanner's; also while the world is stopped, since only raw system calls and tool memory are used.
// Called by: roots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "alloc/meta_vector.h"

namespace arenascan::scan {

struct AddressRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

struct Mapping {
  AddressRange range;
  bool readable = false;
  bool writable = false;
  bool shared = false;
  bool file = false;     // backed by a file
  bool special = false;  // a device, or the kernel's own ([vdso], [vvar], ...)
  bool is_named = true;  // false: a device would have to be told by its path, which was not asked for yet
};

// One line of /proc/self/maps. False when it is not one.
bool parse_mapping(std::string_view line, Mapping& mapping) noexcept;

// All of them, sorted by address. A text that is the same as the last time is not parsed again.
class MappingTable {
 public:
  enum class Way : std::uint8_t { kAny, kText };
  explicit MappingTable(Way way = Way::kAny) noexcept : may_ask_(way == Way::kAny) {}

  // Those that lie within one of the ranges `without`, and those in `sealed` that cannot be written, may be left out;
  // the ranges of each are sorted and apart. False when /proc does not tell all, or there is no memory; the table is
  // empty then.
  [[nodiscard]] bool read(std::span<const AddressRange> without, std::span<const AddressRange> sealed = {}) noexcept;

  // Mapping::special, asked for now where it is not known.
  enum class Answer : std::uint8_t { kNo, kYes, kUntold };
  [[nodiscard]] static Answer is_special(const Mapping& mapping) noexcept;

  [[nodiscard]] const Mapping* begin() const noexcept { return mappings_.begin(); }
  [[nodiscard]] const Mapping* end() const noexcept { return mappings_.end(); }
  [[nodiscard]] std::size_t size() const noexcept { return mappings_.size(); }

 private:
  struct Text {
    alloc::MetaVector<char> room;
    std::size_t length = 0;
    [[nodiscard]] std::string_view view() const noexcept { return {room.begin(), length}; }
  };
  static constexpr std::size_t kMany = 200;

  [[nodiscard]] bool ask(std::span<const AddressRange> without, std::span<const AddressRange> sealed) noexcept;
  [[nodiscard]] bool read_as_text() noexcept;
  [[nodiscard]] static bool read_text(Text& text) noexcept;
  [[nodiscard]] bool parse() noexcept;

  alloc::MetaVector<Mapping> mappings_;
  Text known_;  // what mappings_ was parsed from; empty: from none
  Text now_;
  bool may_ask_;
};

}  // namespace arenascan::scan
