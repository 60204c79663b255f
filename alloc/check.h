// Assertions at three levels, and fatal messages that are written without allocating.
//
//   ARENA_CHECK   always on: the program cannot go on safely when it is false
//   ARENA_ASSERT  debug builds only, O(1): an invariant that the code beside it relies on
//   ARENA_AUDIT   ARENASCAN_AUDIT builds only: may walk whole structures (the is_valid() functions)
//
// A fatal message is one line on standard error, `arenascan: ...`, put together in a buffer on the stack and written
// with one raw write, then abort(). Misuse of the heap by the program (double free and its kin) has its own
// reporters in misuse.h; this header is for the library's own invariants and for text.
//
// Threads: all functions may be called from any thread, also in signal handlers and while the world is stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace arenascan::alloc {

// A line of text in a fixed buffer: what does not fit is cut, nothing is allocated.
class FixedText {
 public:
  FixedText& text(std::string_view words) noexcept;
  FixedText& decimal(std::uint64_t value) noexcept;
  FixedText& hex(std::uint64_t value) noexcept;        // with 0x in front
  FixedText& quoted(std::string_view words) noexcept;  // 64 bytes of it; control characters as \xHH
  FixedText& pointer(const void* value) noexcept { return hex(reinterpret_cast<std::uintptr_t>(value)); }

  [[nodiscard]] std::string_view view() const noexcept { return {buffer_, length_}; }

 private:
  char buffer_[1024];
  std::size_t length_ = 0;
};

// Writes `line` and a newline to standard error in one write.
void write_line(std::string_view line) noexcept;

// Writes `line` to standard error and aborts.
[[noreturn]] void fatal(std::string_view line) noexcept;

[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace arenascan::alloc

#define ARENA_CHECK(condition)                         \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::arenascan::alloc::check_failed(#condition, __FILE__, __LINE__))

#ifdef NDEBUG
#define ARENA_ASSERT(condition) static_cast<void>(0)
#else
#define ARENA_ASSERT(condition) ARENA_CHECK(condition)
#endif

#ifdef ARENASCAN_AUDIT
#define ARENA_AUDIT(condition) ARENA_CHECK(condition)
#else
#define ARENA_AUDIT(condition) static_cast<void>(0)
#endif
