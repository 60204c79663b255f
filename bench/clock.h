// The wall clock of the scan's benches.
#pragma once

#include <time.h>

#include <cstdint>

namespace bench {

inline std::uint64_t now_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}
inline double now_ms() { return static_cast<double>(now_ns()) / 1e6; }

}  // namespace bench
