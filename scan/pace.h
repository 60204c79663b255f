// What a scan does between two pieces of work: tell how far it is, ask whether to go on, and rest.
//
// A scan beside the program takes a processor for itself. Where that is too much, it works for a piece of some
// milliseconds and then sleeps until its share of the time is kept. What holds the program up, a pause, is never told,
// cancelled or stretched.
//
// Threads: the scanner's; the callback runs there, with the scan lock held and no other. Called by: mark_cycle,
// scanner.
#pragma once

#include <cstdint>

#include "scan/verdict.h"

namespace arenascan::scan {

enum class Phase : std::uint8_t {
  kMark,      // objects are found from the roots
  kReread,    // ... read again, because the program went on
  kClassify,  // what was not reached is looked at
};

struct Progress {
  Phase phase = Phase::kMark;
  Count reached;  // so far
  std::uint64_t elapsed_ns = 0;
};

struct PaceSettings {
  bool (*go_on)(const Progress& progress, void* argument) = nullptr;  // null: nobody is told; false: cancel the scan
  void* argument = nullptr;
  unsigned processor_percent = 100;  // of one; 1 to 100
};

class Pace {
 public:
  static constexpr std::uint64_t kPieceNs = 2'000'000;

  explicit Pace(const PaceSettings& settings) noexcept;

  // Between two pieces, while the program runs. False: the scan was cancelled.
  [[nodiscard]] bool go_on(Phase phase, Count reached) noexcept;

 private:
  PaceSettings settings_;
  std::uint64_t began_ns_;
  std::uint64_t rested_ns_;  // when the last rest ended
};

}  // namespace arenascan::scan
