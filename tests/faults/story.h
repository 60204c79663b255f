// What a story of the fault tests is made of: a program that uses the library, and knows at each moment what it has
// lost.
//
// A story goes on whatever fails. What it could not get it has not got; all else is as it has to be: memory holds what
// was written to it, malloc gives null with ENOMEM, a scan leaves errno alone and is either incomplete, says why, and
// claims nothing; or it tells exactly what was lost. One process, one story (victim.cpp).
#pragma once

#include <arenascan/arena.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tests/check.h"

namespace arenascan::test {

// `bytes` of memory filled with what check_filled() expects, or null.
void* get_filled(std::size_t bytes, unsigned char value = 1);
void check_filled(const void* memory, std::size_t bytes, unsigned char value = 1);

// Loses objects of `bytes` each, on this thread and on one that ends; how many were lost is known. None of them points
// to another.
void lose(int count, std::size_t bytes);

// This thread, or this process, has nothing to do with what was lost before: in a forked child.
void forget_lost();

struct Lost {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
};
Lost lost();

// Nothing fails: every scan has to be complete.
void require_whole_scans();
bool needs_whole_scans();

enum class Beside : bool { kNo, kYes };

// A scan, and whether it is right. Returns whether it was complete. In line: what was called before has left nothing
// where the next call will have its frame.
bool scan_scrubbed(Beside beside);
[[gnu::always_inline]] inline bool scan_and_check(Beside beside) {
  arena_scrub_stack();
  return scan_scrubbed(beside);
}

// Threads that each keep an object by their own stack alone, and see in the end that it is theirs still.
class Holders {
 public:
  enum class Ears : bool { kOpen, kDeaf };  // deaf: blocks every signal

  Holders(int wanted, Ears ears);
  ~Holders();
  Holders(const Holders&) = delete;
  Holders& operator=(const Holders&) = delete;

 private:
  static constexpr int kMost = 8;
  static void* hold(void* opaque);

  Ears ears_;
  int count_ = 0;
  std::atomic<int> ready_{0};
  std::atomic<bool> done_{false};
  unsigned long threads_[kMost];
};

void sleep_us(long us);

void tell_heap_story();
void tell_stopped_story();
void tell_beside_story();
void tell_deaf_story();
void tell_roots_story();
void tell_fork_story();
void tell_explain_story();
void tell_private_story();
void tell_ending_story();
void tell_control_story();

}  // namespace arenascan::test
