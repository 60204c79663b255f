// Bytes as records of a trace. Each 20 bytes are one; an operation that does not exist is taken modulo those that do.
// The header of a trace in a file is left out, so such files are inputs as they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

#include "api/trace/file.h"
#include "api/trace/record.h"

namespace arenascan::fuzz {

template <typename Visit>
void for_each_record(std::span<const std::uint8_t> input, Visit&& visit) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  if (text.starts_with(trace::kMagic)) input = input.subspan(std::min(input.size(), trace::kHeaderBytes));
  for (; input.size() >= trace::kRecordBytes; input = input.subspan(trace::kRecordBytes)) {
    trace::RecordBytes bytes;
    std::copy_n(input.begin(), bytes.size(), bytes.begin());
    constexpr std::size_t kOp = 18;
    bytes[kOp] %= trace::kOpCount;
    visit(*trace::decode(bytes));
  }
}

}  // namespace arenascan::fuzz
