// What has to hold in a fuzz target. libFuzzer keeps the input that aborts.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace arenascan::fuzz {

inline void require(bool holds, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: does not hold\n", file, line);
  std::abort();
}

}  // namespace arenascan::fuzz
