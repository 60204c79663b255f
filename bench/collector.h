// The leak checkers that the scan benches compare, behind four functions: allocate(), allocate_without_pointers(),
// release() and check(). Which one is chosen when the program is compiled (BENCH_COLLECTOR_*), none of them knows of
// the others:
//
//     BENCH_COLLECTOR_ARENASCAN   malloc, linked with the library      arena_scan_ex()
//     BENCH_COLLECTOR_LSAN        malloc, -fsanitize=leak              __lsan_do_recoverable_leak_check()
//     BENCH_COLLECTOR_BDWGC       GC_malloc, leak-finding mode         GC_gcollect()
//     BENCH_COLLECTOR_VALGRIND    malloc, run under valgrind           VALGRIND_DO_LEAK_CHECK
#pragma once

#include <cstddef>
#include <cstdlib>

#if defined(BENCH_COLLECTOR_ARENASCAN)
#include <arenascan/arena.hpp>
#elif defined(BENCH_COLLECTOR_LSAN)
#include <sanitizer/lsan_interface.h>
#elif defined(BENCH_COLLECTOR_BDWGC)
#include <gc/gc.h>
#elif defined(BENCH_COLLECTOR_VALGRIND)
#include <valgrind/memcheck.h>
#else
#error "say which collector: BENCH_COLLECTOR_..."
#endif

namespace bench {

#if defined(BENCH_COLLECTOR_BDWGC)

inline void set_up() {
  GC_set_find_leak(1);
  GC_INIT();
  GC_disable();  // no collection but those that are measured
}
inline void* allocate(std::size_t bytes) { return GC_malloc(bytes); }
inline void* allocate_without_pointers(std::size_t bytes) { return GC_malloc_atomic(bytes); }
inline void release(void* block) { GC_free(block); }
inline void check() {
  GC_enable();
  GC_gcollect();
  GC_disable();
}

#else

inline void set_up() {}
inline void* allocate(std::size_t bytes) { return std::malloc(bytes); }
inline void release(void* block) { std::free(block); }

#if defined(BENCH_COLLECTOR_ARENASCAN)
inline void* allocate_without_pointers(std::size_t bytes) {
  void* const block = std::malloc(bytes);
  arena_no_scan(block);
  return block;
}
inline arena::report last;
inline void check() { last = arena::scan(); }
#elif defined(BENCH_COLLECTOR_LSAN)
inline void* allocate_without_pointers(std::size_t bytes) { return std::malloc(bytes); }
inline void check() { __lsan_do_recoverable_leak_check(); }
#else
inline void* allocate_without_pointers(std::size_t bytes) { return std::malloc(bytes); }
inline void check() { VALGRIND_DO_LEAK_CHECK; }
#endif

#endif

}  // namespace bench
