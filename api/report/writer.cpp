#include "api/report/writer.h"

#include <algorithm>
#include <cstring>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::api::report {

Writer& Writer::text(std::string_view words) noexcept {
  while (!words.empty()) {
    if (length_ == sizeof(buffer_)) flush();
    const std::size_t taken = std::min(words.size(), sizeof(buffer_) - length_);
    std::memcpy(buffer_ + length_, words.data(), taken);
    length_ += taken;
    words.remove_prefix(taken);
  }
  return *this;
}

Writer& Writer::decimal(std::uint64_t value) noexcept {
  alloc::FixedText digits;
  return text(digits.decimal(value).view());
}

Writer& Writer::hex(std::uint64_t value) noexcept {
  alloc::FixedText digits;
  return text(digits.hex(value).view());
}

int Writer::flush() noexcept {
  if (error_ == 0 && length_ != 0) error_ = alloc::os_write_all(fd_, buffer_, length_);
  length_ = 0;
  return error_;
}

}  // namespace arenascan::api::report
