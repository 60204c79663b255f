// Bytes as records of a trace. Each 20 bytes are one; an operation that does not exist is taken modulo those that do.
// The header of a trace in a file is left out, so such files are inputs as they are. What is left behind the last
// record is none; its length is free to mean something.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

#include "api/trace/file.h"
#include "api/trace/record.h"

namespace arenascan::fuzz {

class Records {
 public:
  explicit Records(std::span<const std::uint8_t> input) noexcept : bytes_(input) {
    const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    if (text.starts_with(trace::kMagic)) bytes_ = input.subspan(std::min(input.size(), trace::kHeaderBytes));
  }

  [[nodiscard]] std::size_t rest_bytes() const noexcept { return bytes_.size() % trace::kRecordBytes; }

  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (auto left = bytes_; left.size() >= trace::kRecordBytes; left = left.subspan(trace::kRecordBytes)) {
      trace::RecordBytes bytes;
      std::copy_n(left.begin(), bytes.size(), bytes.begin());
      constexpr std::size_t kOp = 18;
      bytes[kOp] %= trace::kOpCount;
      visit(*trace::decode(bytes));
    }
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace arenascan::fuzz
