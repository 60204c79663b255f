// Text to a file descriptor through a small buffer: no allocation, no stdio. The first error is kept, later output
// dropped.
//
// Threads: one at a time. Called by: the report writers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace arenascan::api::report {

class Writer {
 public:
  explicit Writer(int fd) noexcept : fd_(fd) {}
  ~Writer() { flush(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Writer& text(std::string_view words) noexcept;
  Writer& decimal(std::uint64_t value) noexcept;
  Writer& hex(std::uint64_t value) noexcept;  // with 0x in front

  // Writes what is buffered. Returns 0 or the errno value of the first failure.
  int flush() noexcept;

 private:
  int fd_;
  int error_ = 0;
  std::size_t length_ = 0;
  char buffer_[4096];
};

}  // namespace arenascan::api::report
