// Reading binary tables: fixed-size values, LEB128 numbers, encoded pointers.
//
// A reader knows where its bytes end. Reading past the end gives zeros and is remembered (failed()), so that a parser
// can run through a damaged table and ask once, at the end, whether to believe what it got.
//
// Threads: an object is one thread's. Called by: cfi.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace arenascan::alloc {

// A cursor over bytes that are known to end at `end`; reads past it give zeros and are remembered.
class ByteReader {
 public:
  ByteReader(const std::byte* at, const std::byte* end) noexcept : at_(at), end_(end) {}

  template <typename T>
  T fixed() noexcept {
    T value{};
    if (static_cast<std::size_t>(end_ - at_) < sizeof(T)) {
      failed_ = true;
      at_ = end_;
      return value;
    }
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::uint64_t uleb() noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = fixed<std::uint8_t>();
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  }

  std::int64_t sleb() noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64;) {
      const auto byte = fixed<std::uint8_t>();
      value |= std::uint64_t{byte & 0x7FU} << shift;
      shift += 7;
      if ((byte & 0x80) != 0) continue;
      if ((byte & 0x40) != 0 && shift < 64) value |= ~std::uint64_t{0} << shift;
      break;
    }
    return static_cast<std::int64_t>(value);
  }

  // A pointer in one of the encodings that x86-64 compilers use; others fail.
  std::uintptr_t encoded(std::uint8_t encoding) noexcept {
    const auto place = reinterpret_cast<std::uintptr_t>(at_);
    std::uintptr_t value = 0;
    switch (encoding & 0x0F) {
      case 0x00: value = fixed<std::uint64_t>(); break;
      case 0x03: value = fixed<std::uint32_t>(); break;
      case 0x04: value = fixed<std::uint64_t>(); break;
      case 0x0B: value = static_cast<std::uintptr_t>(std::int64_t{fixed<std::int32_t>()}); break;
      case 0x0C: value = fixed<std::uint64_t>(); break;
      default: failed_ = true;
    }
    switch (encoding & 0xF0) {
      case 0x00: return value;
      case 0x10: return value + place;
      default: failed_ = true; return 0;
    }
  }

  void skip(std::uint64_t bytes) noexcept {
    if (bytes > static_cast<std::uint64_t>(end_ - at_)) {
      failed_ = true;
      at_ = end_;
    } else {
      at_ += bytes;
    }
  }

  [[nodiscard]] const std::byte* at() const noexcept { return at_; }
  [[nodiscard]] const std::byte* end() const noexcept { return end_; }
  [[nodiscard]] bool done() const noexcept { return at_ == end_; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  const std::byte* at_;
  const std::byte* end_;
  bool failed_ = false;
};

}  // namespace arenascan::alloc
