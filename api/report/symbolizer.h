// Functions, files and lines of code addresses, found by a process of its own: `arenascan symbolize`.
//
// Reading debug information takes a large library, much memory and many calls into the C library; none of that belongs
// inside the program that is watched. So a helper is started for the length of one report and asked over a socket:
//
//     -> MODULE 0xOFFSET\n
//     <- function\n file:line:column\n  (once for each inlined function, innermost first)  \n
//
// The program must not notice its helper. A child that executes a new program sends SIGCHLD when it ends and can be
// reaped by the program's own wait(); so a first child without an exit signal starts the helper and ends at once, which
// makes the helper somebody else's child. Both share memory until the helper executes (no fork handlers, no page
// copies), with all signals blocked meanwhile.
//
// Whatever goes wrong (no helper, no answer in time), symbolize() says false and the report prints module and offset.
//
// Threads: one at a time. Called by: resolver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace arenascan::api::report {

struct SourceFrame {
  std::string_view function;  // demangled
  std::string_view place;     // file:line:column, or empty
};

class Symbolizer {
 public:
  Symbolizer() = default;
  ~Symbolizer();
  Symbolizer(const Symbolizer&) = delete;
  Symbolizer& operator=(const Symbolizer&) = delete;

  using Visit = void (*)(const SourceFrame& frame, void* argument);

  // Calls visit for each frame at `offset` of `module`, inlined ones first. False when nothing is known about it.
  bool symbolize(std::string_view module, std::uintptr_t offset, Visit visit, void* argument) noexcept;

  // There is no helper, or it does not answer any more.
  [[nodiscard]] bool is_unavailable() const noexcept { return state_ == State::kUnavailable; }

 private:
  enum class State : std::uint8_t { kNotStarted, kRunning, kUnavailable };

  void start() noexcept;
  void stop() noexcept;
  bool read_line(std::string_view& line) noexcept;  // valid until the next call
  bool ask(std::string_view module, std::uintptr_t offset) noexcept;

  State state_ = State::kNotStarted;
  int fd_ = -1;
  std::size_t begin_ = 0;  // unread part of buffer_
  std::size_t end_ = 0;
  char buffer_[16384];
};

}  // namespace arenascan::api::report
