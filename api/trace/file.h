// Traces in files: ours in both forms, and those that other tools write (foreign.h). Which one a file is, its beginning
// tells.
//
// Failure: BadTrace, whose text is one line that names the file, the line or record in it, and what would be right.
//
// Threads: no state. Called by: trace2text, text2trace.
#pragma once

#include <iosfwd>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "api/trace/record.h"

namespace arenascan::trace {

using Trace = std::vector<Record>;

// How a file of records begins.
inline constexpr std::string_view kMagic = "arenatrc";
inline constexpr std::size_t kHeaderBytes = 16;

class BadTrace : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Reads a whole trace. `name` is what BadTrace calls it.
[[nodiscard]] Trace read_trace(std::istream& in, const std::string& name);

// Both forms, with their headers. Errors are the stream's own.
void write_binary(std::ostream& out, std::span<const Record> records);
void write_text(std::ostream& out, std::span<const Record> records);

// Reads the lines of a text one by one; for the readers.
class LineReader {
 public:
  LineReader(std::istream& in, std::string name) : in_(in), name_(std::move(name)) {}

  // False at the end.
  bool next(std::string& line);

  // Throws a BadTrace about the line read last.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::istream& in_;
  std::string name_;
  std::size_t number_ = 0;
};

}  // namespace arenascan::trace
