// The options of the process: one table (options.def) from which the struct, the parser, the help text and the
// documentation come.
//
// Text form: `key=value` separated by colon, space, comma, tab or newline. Sources, later ones win:
//   the weak function arena_default_options() of the program, then the environment variable ARENASCAN_OPTIONS.
// The environment is read with raw system calls from /proc/self/environ, because the first allocation comes from
// inside the dynamic loader, before libc has an `environ`.
//
// Bad input never stops the program: an unknown key or a bad value is named on standard error, in one line with what
// would be right, and the default stays.
//
// Threads: load_options() runs once, in the heap's one-time set-up, before any other thread exists; from then on the
// table is only read. Nothing here allocates.
//
// The idea of one table behind everything is that of LeakSanitizer's flag file and mimalloc's option list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace arenascan::alloc {

// A path or other text value, stored in place.
struct OptionText {
  static constexpr std::size_t kCapacity = 512;
  char chars[kCapacity] = {};
  [[nodiscard]] std::string_view view() const noexcept { return chars; }
};

enum class StackMode : std::uint8_t { kOff, kFull, kFramePointers };  // as text: off, full, fp; or 0, 1, 2

struct Options {
#define ARENA_OPTION(type, name, default_value, least, most, help) type name = default_value;
#include "alloc/options.def"
#undef ARENA_OPTION
};

// Parses `text` over `options`. Every unknown key and bad value is told to `complain` (one line without newline, with
// the valid keys or values in it), and skipped. `source` names where the text came from, for those lines.
// Returns the number of complaints.
using ComplaintSink = void (*)(std::string_view line);
std::size_t parse_options(std::string_view text, std::string_view source, Options& options,
                          ComplaintSink complain) noexcept;

// Writes the table, one option a line with its type, default and help, to `fd`.
void write_option_help(int fd) noexcept;

// Reads all sources into the process's options; complaints go to standard error; prints the help when `help=1`.
void load_options() noexcept;

// The process's options; the defaults until load_options() has run.
const Options& options() noexcept;

}  // namespace arenascan::alloc
