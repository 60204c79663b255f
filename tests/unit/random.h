// A small, fast, seeded source of random numbers for tests, and test lengths from the environment.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace arenascan::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15 + 1) {}

  std::uint64_t next() {  // xorshift*
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1D;
  }
  // 0 to below - 1.
  std::uint64_t below(std::uint64_t below) { return (next() >> 11) % below; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

// A number from the environment, for longer runs of the same test.
inline std::uint64_t length_from(const char* variable, std::uint64_t usual) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

}  // namespace arenascan::test
