// Tables of options, and the parser of texts that set them.
//
// Text form: `key=value` separated by colon, space, comma, tab, newline or carriage return; a value that holds one of
// these stands in quotation marks, single or double. A row of a table says what a key is called, where in a struct of
// options its value lies, and what it may be.
//
// Bad input never stops the program: an unknown key or a bad value is named in one line with what would be right, and
// what was there stays.
//
// Threads: a struct of options is the caller's; read_start_variable() one at a time. Nothing here allocates.
//
// The idea of one table behind everything is that of LeakSanitizer's flag file and mimalloc's option list.
//
// Called by: options; api/'s LeakSanitizer face.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace arenascan::alloc {

// A path or other text value, stored in place.
struct OptionText {
  static constexpr std::size_t kCapacity = 512;
  char chars[kCapacity] = {};
  [[nodiscard]] std::string_view view() const noexcept { return chars; }
};

enum class StackMode : std::uint8_t { kOff, kFull, kFramePointers };  // as text: off, full, fp; or 0, 1, 2

struct OptionRow {
  enum class Kind : std::uint8_t { kFlag, kNumber, kText, kStackMode };
  std::string_view name;
  Kind kind;
  std::size_t offset;     // of the value in its struct
  unsigned least, most;   // of a number
  std::string_view help;  // empty: taken, but neither offered nor explained
};

// A row for a member of type T.
template <typename T>
constexpr OptionRow option_row(std::string_view name, std::size_t offset, unsigned least, unsigned most,
                               std::string_view help) noexcept {
  using Kind = OptionRow::Kind;
  static_assert(std::is_same_v<T, bool> || std::is_same_v<T, unsigned> || std::is_same_v<T, OptionText> ||
                std::is_same_v<T, StackMode>);
  constexpr Kind kKind = std::is_same_v<T, bool>         ? Kind::kFlag
                         : std::is_same_v<T, unsigned>   ? Kind::kNumber
                         : std::is_same_v<T, OptionText> ? Kind::kText
                                                         : Kind::kStackMode;
  return {name, kKind, offset, least, most, help};
}

using OptionTable = std::span<const OptionRow>;
using ComplaintSink = void (*)(std::string_view line);

// Parses `text` over the struct at `options`. Every unknown key and bad value is told to `complain` (one line without
// newline, with the valid keys or values in it), and skipped. `source` names where the text came from, for those lines.
// Returns the number of complaints.
std::size_t parse_table(std::string_view text, std::string_view source, OptionTable table, void* options,
                        ComplaintSink complain) noexcept;

// Cuts the next `key=value` off `text`; empty at its end.
std::string_view next_option(std::string_view& text) noexcept;

// Writes the table, one option a line with its value in the struct at `defaults`, its help and what it may be, to `fd`.
void write_table(int fd, OptionTable table, const void* defaults) noexcept;

// The value that an environment variable had when the process began, at most 16 KiB; empty when it was not set, and
// in a process with more rights than its caller, whose variables could make it write and run files with these. By raw
// system calls from /proc/self/environ, for the first allocation comes from inside the dynamic loader, before the C
// library has an `environ`. Good until the next call.
std::string_view read_start_variable(std::string_view name) noexcept;

}  // namespace arenascan::alloc
