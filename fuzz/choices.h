// Decisions that an input makes, one after the other; where it has ended, the first of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace arenascan::fuzz {

class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> input) noexcept : left_(input) {}

  [[nodiscard]] bool any() const noexcept { return !left_.empty(); }

  // 0 to `count` - 1, of no more bytes than that needs.
  std::uint64_t below(std::uint64_t count) noexcept {
    std::uint64_t value = 0;
    for (std::uint64_t rest = count - 1; rest != 0 && any(); rest >>= 8) {
      value = value << 8 | left_.front();
      left_ = left_.subspan(1);
    }
    return value % count;
  }
  bool one_in(std::uint64_t count) noexcept { return below(count) == 0; }

 private:
  std::span<const std::uint8_t> left_;
};

}  // namespace arenascan::fuzz
