// What the bench programs share: arguments, random numbers, the answer on standard output.
//
// Arguments with dashes mean the same everywhere; plain numbers are the program's own.
//   --smoke    a run of a few milliseconds, for tests
//   --part=N   one N-th of the work, for slow allocators; the answer is still for one pair
//   --cpu      the processor's time of all threads instead of the clock's, for busy machines; waiting is not in it
//   --rss      print the peak RSS in KiB after the answer
//
// Nothing here allocates from the heap, so that the allocator sees only what the program asks for.
#pragma once

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {

// The highest resident size so far. Unlike getrusage it does not count what ran before exec.
inline unsigned long peak_rss_kib() {
  char text[4096] = {};
  const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t length = read(file, text, sizeof(text) - 1);
  close(file);
  const char* const line = length > 0 ? std::strstr(text, "VmHWM:") : nullptr;
  return line == nullptr ? 0 : std::strtoul(line + 6, nullptr, 10);
}

class Random {  // xorshift
 public:
  explicit Random(std::uint64_t seed) : state_(88172645463325252 + seed * 2654435761) {}
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  std::size_t below(std::size_t limit) { return (next() >> 16) % limit; }

 private:
  std::uint64_t state_;
};

// Allocates and touches, as a program would.
inline void* touch(std::size_t size) {
  void* const object = std::malloc(size);
  *static_cast<volatile char*>(object) = 1;
  return object;
}

class Program {
 public:
  Program(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      if (std::strcmp(argv[i], "--smoke") == 0) {
        smoke_ = true;
      } else if (std::strcmp(argv[i], "--rss") == 0) {
        rss_ = true;
      } else if (std::strcmp(argv[i], "--cpu") == 0) {
        clock_ = CLOCK_PROCESS_CPUTIME_ID;
      } else if (std::strncmp(argv[i], "--part=", 7) == 0 && std::strtoul(argv[i] + 7, nullptr, 10) > 0) {
        part_ = std::strtoul(argv[i] + 7, nullptr, 10);
      } else if (std::strncmp(argv[i], "--", 2) != 0 && number_count_ < kNumbers) {
        numbers_[number_count_++] = std::strtoul(argv[i], nullptr, 10);
      } else {
        std::fprintf(stderr, "%s: %s is none of [NUMBER...] --smoke --part=N --cpu --rss\n", argv[0], argv[i]);
        std::exit(2);
      }
    }
    began_ns_ = now_ns();
  }

  std::size_t number(std::size_t index, std::size_t otherwise) const {
    return index < number_count_ ? numbers_[index] : otherwise;
  }

  // How much of the whole work this run does, at least `least`.
  std::size_t work(std::size_t whole, std::size_t least = 1) const {
    const std::size_t mine = whole / (smoke_ ? 500 : part_);
    return mine < least ? least : mine;
  }

  // The answer of most programs: nanoseconds for a pair since the program began, when each of `threads` threads (or
  // pairs of them) did so many.
  void answer_ns(std::size_t pairs_of_a_thread, std::size_t threads) const {
    const std::size_t pairs = pairs_of_a_thread * (clock_ == CLOCK_MONOTONIC ? 1 : threads);
    std::printf("%.1f", (now_ns() - began_ns_) / static_cast<double>(pairs));
    if (rss_) std::printf(" %lu", peak_rss_kib());
    std::printf("\n");
  }

 private:
  static constexpr std::size_t kNumbers = 4;

  double now_ns() const {
    timespec now = {};
    clock_gettime(clock_, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
  }

  std::size_t numbers_[kNumbers] = {};
  std::size_t number_count_ = 0;
  std::size_t part_ = 1;
  clockid_t clock_ = CLOCK_MONOTONIC;
  double began_ns_ = 0;
  bool smoke_ = false;
  bool rss_ = false;
};

}  // namespace bench
