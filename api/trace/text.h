// A record as a line of text, and back; record.h describes the lines.
//
// Threads: no state. Called by: file, trace2text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/trace/record.h"

namespace arenascan::trace {

inline constexpr std::string_view kTextHeader = "# arenascan trace 1";

// Without a newline. The record must be normalized.
[[nodiscard]] std::string to_text(const Record& record);

// What a line says: a record, or nothing (a comment, an empty line), or what is wrong with it and what would be right.
struct Line {
  std::optional<Record> record;
  std::string complaint;
};
[[nodiscard]] Line parse_line(std::string_view line);

// The words of a line, cut at blanks and tabs.
class Words {
 public:
  explicit Words(std::string_view line) noexcept : rest_(line) {}
  // The next one; empty at the end.
  std::string_view next() noexcept;

 private:
  std::string_view rest_;
};

// A number in decimal, or in hexadecimal with 0x in front. Nothing when `word` is anything else or does not fit.
[[nodiscard]] std::optional<std::uint64_t> to_number(std::string_view word) noexcept;

// A piece of foreign text as it can be shown: quoted, shortened, unprintable bytes as `?`.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace arenascan::trace
