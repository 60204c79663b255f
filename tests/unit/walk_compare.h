// What the tests of the unwinder share: a walk both ways, with the fast unwinder and with libunwind, compared frame by
// frame; signal handlers and an alternate signal stack for the length of a test.
//
// compare() is called from the code whose stack is in question, also from signal handlers and other threads; it
// allocates nothing and reports nothing. What it found stands in a Tally, which check() looks at when the test is back
// in ordinary code. One thread at a time may use one Tally.
//
// Because a walk that falls back to libunwind would agree with libunwind whatever the fast path does,
// count_complex_frames() counts the frames of this program that have no rule: there must be none.
//
// Included by: unwind_test.cpp, unwind_signal_test.cpp.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "alloc/cfi.h"
#include "alloc/stack_cache.h"
#include "alloc/unwind.h"

namespace arenascan::test {

#if defined(__has_feature)
#define ARENA_TEST_HAS_FEATURE(name) __has_feature(name)
#else
#define ARENA_TEST_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || ARENA_TEST_HAS_FEATURE(thread_sanitizer)
inline constexpr bool kHasPromptSignals = false;  // ThreadSanitizer puts handlers off
#else
inline constexpr bool kHasPromptSignals = true;
#endif
#if defined(__SANITIZE_ADDRESS__) || ARENA_TEST_HAS_FEATURE(address_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = !kHasPromptSignals;
#endif

using Frames = std::array<std::uintptr_t, alloc::kMaxFrames + 2>;

// What walks have found so far. Written from handlers and other threads, one at a time.
struct Tally {
  std::uint64_t walks = 0;
  std::uint64_t different = 0;
  std::uint64_t hits = 0;            // walks that the stack cache has answered as well
  std::uint64_t wrong_hits = 0;      // of them, with another stack
  std::uint64_t complex_frames = 0;  // of this program's, without a rule
  std::size_t deepest = 0;
  Frames fast{};  // of the first walk that differed
  Frames slow{};
};

// Whether the fast path knows how to step out of a frame of this program.
inline bool is_complex_here(std::uintptr_t return_address) {
  dl_find_object module{}, own{};
  if (_dl_find_object(reinterpret_cast<void*>(return_address), &module) != 0) return false;
  if (_dl_find_object(reinterpret_cast<void*>(&is_complex_here), &own) != 0) return false;
  if (module.dlfo_link_map != own.dlfo_link_map) return false;
  const std::byte* const fde = alloc::find_fde(static_cast<const std::byte*>(module.dlfo_eh_frame), return_address - 1);
  return fde == nullptr || alloc::evaluate(fde, return_address - 1).kind == alloc::UnwindRule::Kind::kComplex;
}

inline alloc::StackTables& walk_tables() {
  static alloc::StackTables tables;
  static const bool are_ready = tables.stacks.init(std::size_t{1} << 28) && tables.trails.init(std::size_t{1} << 28);
  if (!are_ready) std::abort();
  return tables;
}
inline const alloc::StackTables& g_walk_tables = walk_tables();  // before any signal handler

// What the allocations of a thread would do with the same walks: the answer of the stack cache must be the walk's.
inline void compare_cached(Tally& tally, const alloc::Origin& origin, const Frames& walked, std::size_t depth,
                           const alloc::Trail& trail) {
  alloc::StackTables& tables = walk_tables();
  thread_local alloc::StackCache cache{};
  std::array<std::uintptr_t, alloc::kMaxFrames + 2> whole{origin.entry_frame()};
  std::copy_n(walked.begin(), depth, whole.begin() + 1);
  const alloc::StackId stack = tables.stacks.intern({whole.data(), depth + 1});
  if (const alloc::StackId cached = cache.find(origin); cached != alloc::kNoStack) {
    ++tally.hits;
    if (cached != stack) ++tally.wrong_hits;
  }
  cache.remember(tables, origin, stack, trail);
}

// Walks both ways from the caller outwards, and notes what differs.
[[gnu::noinline]] inline void compare(Tally& tally, std::size_t capacity = alloc::kMaxFrames) {
  Frames fast{}, slow{};
  const alloc::FrameState start = ARENA_CALLER_STATE();
  alloc::Trail trail;
  const int saved_errno = errno;
  errno = 4711;
  const std::size_t fast_depth = alloc::unwind(start, fast.data(), capacity, trail);
  const bool kept_errno = errno == 4711;
  errno = saved_errno;
  const std::size_t slow_depth = alloc::unwind_slow(slow.data(), capacity + 1) - 1;  // this function is in front
  // The capacity stands in for the entry point: a stack of another depth is another stack.
  compare_cached(tally, ARENA_ORIGIN(capacity), fast, fast_depth, trail);
  ++tally.walks;
  tally.deepest = std::max(tally.deepest, fast_depth);
  if (kept_errno && fast_depth == slow_depth && std::equal(fast.begin(), fast.begin() + fast_depth, slow.begin() + 1)) {
    return;
  }
  if (tally.different++ == 0) {
    tally.fast = fast;
    std::copy(slow.begin() + 1, slow.end(), tally.slow.begin());
  }
}

inline void count_complex_frames(Tally& tally) {
  Frames frames{};
  const std::size_t depth = alloc::unwind_slow(frames.data(), alloc::kMaxFrames);
  for (std::size_t i = 0; i < depth; ++i) tally.complex_frames += is_complex_here(frames[i]);
}

inline void check(const Tally& tally, std::uint64_t at_least) {
  CHECK(tally.walks >= at_least);
  CHECK(tally.different == 0);
  CHECK(tally.wrong_hits == 0);
  CHECK(tally.complex_frames == 0);
  MESSAGE("walks: " << tally.walks << ", deepest: " << tally.deepest << ", answered by the cache: " << tally.hits);
  if (tally.different == 0) return;
  for (std::size_t i = 0; i < alloc::kMaxFrames; ++i) {
    const std::uintptr_t fast = tally.fast[i], slow = tally.slow[i];
    if (fast == slow) continue;
    Dl_info info{};
    dladdr(reinterpret_cast<void*>(slow), &info);
    MESSAGE("frame " << i << ": fast " << fast << ", slow " << slow << " in "
                     << (info.dli_sname != nullptr ? info.dli_sname : "?"));
    break;
  }
}

// Makes the compiler believe that memory is used here: what is called before cannot be a tail call.
inline void use(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

// A handler for as long as the object lives.
class Handler {
 public:
  Handler(int signal, void (*handler)(int), int flags) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    REQUIRE(sigaction(signal, &action, &before_) == 0);
  }
  ~Handler() { sigaction(signal_, &before_, nullptr); }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

 private:
  int signal_;
  struct sigaction before_ {};
};

class AlternateStack {
 public:
  AlternateStack() {
    memory_ = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
    const stack_t stack{memory_, 0, kBytes};
    REQUIRE(sigaltstack(&stack, &before_) == 0);
  }
  ~AlternateStack() {
    sigaltstack(&before_, nullptr);
    munmap(memory_, kBytes);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;
  void* memory_ = nullptr;
  stack_t before_{};
};

}  // namespace arenascan::test
