// Checks for test programs of one process: CHECK goes on and is remembered, the program returns finish().
#pragma once

#include <cstdio>

namespace arenascan::test {

inline int g_failures = 0;

inline void check(bool holds, const char* condition, const char* file, int line) {
  if (holds) return;
  ++g_failures;
  std::fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
}

inline int finish() { return g_failures == 0 ? 0 : 1; }

}  // namespace arenascan::test

#define CHECK(condition) ::arenascan::test::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
