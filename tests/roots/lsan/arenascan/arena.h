// What the programs of tests/roots/ need of <arenascan/arena.h>, answered by LeakSanitizer: compare.sh builds them with
// this in its place. It only says whether there are leaks, and knows none that are older or newer: one, or none.
#pragma once

#include <sanitizer/lsan_interface.h>

#include <cstddef>
#include <cstdint>

constexpr int ARENA_COMPLETE = 0;
constexpr int ARENA_INCOMPLETE_THREAD_NOT_STOPPED = 2;

struct arena_scan_options {
  std::size_t size;
  std::uint32_t born_since;
};

struct arena_scan_result {
  std::size_t size;
  int incomplete;
  const char* incomplete_why;
  struct {
    std::uint64_t objects;
  } leaked;
};

inline std::uint32_t arena_mark() { return 0; }

inline int arena_scan_ex(const arena_scan_options*, arena_scan_result* result) {
  result->incomplete = ARENA_COMPLETE;
  result->incomplete_why = "";
  result->leaked.objects = __lsan_do_recoverable_leak_check() != 0 ? 1 : 0;
  return 0;
}

inline int arena_add_root(const void* p, std::size_t bytes) {
  __lsan_register_root_region(p, bytes);
  return 0;
}

inline int arena_remove_root(const void* p, std::size_t bytes) {
  __lsan_unregister_root_region(p, bytes);
  return 0;
}
