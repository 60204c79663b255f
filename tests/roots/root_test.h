// One root kind: a block whose only pointer lies in one place.
//
//   on    the scan must not report the block while the pointer is there, and must report it once the place is cleared
//   off   with the kind's switch off, the scan must report the block although the pointer is there
//
// So a stray copy of the pointer (a stale stack slot, a register) makes the test fail, and so does a root kind that
// keeps everything alive. Only blocks born since the test began are counted, because a switched-off kind uncovers
// others.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <arenascan/arena.h>

namespace arenascan::test {

// A pointer as no scan can see it.
using Hidden = std::uintptr_t;
inline Hidden hide(const void* p) { return ~reinterpret_cast<std::uintptr_t>(p); }
inline void* reveal(Hidden hidden) { return reinterpret_cast<void*>(~hidden); }

[[gnu::noinline]] inline Hidden allocate_hidden() {
  void* const p = std::malloc(100);
  std::memset(p, 1, 100);
  asm volatile("" : : "r"(p) : "memory");  // a block whose address nobody uses could be left out by the compiler
  return hide(p);
}

// Overwrites what earlier calls have left below the stack pointer.
[[gnu::noinline]] inline void scrub_stack() {
  volatile char dead[32768];
  for (volatile char& byte : dead) byte = 0;
}

// Private memory in a mapping of its own: the kernel joins neighbours that are alike, and one of the others may hold a
// thread's data.
inline void* map_apart(std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  void* const all = mmap(nullptr, bytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  char* const memory = static_cast<char*>(all) + kPage;
  return mprotect(memory, bytes, PROT_READ | PROT_WRITE) == 0 ? memory : nullptr;
}

// Leaked objects born since `mark`; -1 when the scan was incomplete.
[[gnu::noinline]] inline long leaked_since(std::uint32_t mark) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.born_since = mark;
  arena_scan_result result{};
  result.size = sizeof(result);
  if (arena_scan_ex(&options, &result) != 0 || result.incomplete != ARENA_COMPLETE) {
    std::fprintf(stderr, "the scan was incomplete: %s\n", result.incomplete_why);
    return -1;
  }
  return static_cast<long>(result.leaked.objects);
}

inline int expect(const char* when, long leaked, long wanted) {
  if (leaked == wanted) return 0;
  std::fprintf(stderr, "%s: %ld leaked instead of %ld\n", when, leaked, wanted);
  return 1;
}

// Runs the program again with `option`=0, unless this is that run already.
inline void switch_off(const char* option, char** argv) {
  if (std::getenv("ARENA_ROOT_SWITCHED_OFF") != nullptr) return;
  setenv("ARENA_ROOT_SWITCHED_OFF", option, 1);
  setenv("ARENASCAN_OPTIONS", ("at_exit=0:" + std::string(option) + "=0").c_str(), 1);
  execv("/proc/self/exe", argv);
  std::perror("execv");
  std::exit(1);
}

// `store` puts the pointer into the place (it gets it hidden), `clear` takes it out; both noinline.
template <typename Store, typename Clear>
int root_test(char** argv, const char* option, const Store& store, const Clear& clear) {
  const bool is_off = argv[1] != nullptr && std::string_view(argv[1]).ends_with("off");
  if (is_off) switch_off(option, argv);
  const std::uint32_t mark = arena_mark();
  store(allocate_hidden());
  scrub_stack();
  int failures = expect(is_off ? "switched off" : "pointer in place", leaked_since(mark), is_off ? 1 : 0);
  if (!is_off) {
    clear();
    scrub_stack();
    failures += expect("place cleared", leaked_since(mark), 1);
  }
  return failures;
}

}  // namespace arenascan::test
