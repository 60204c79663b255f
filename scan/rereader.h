// Reading again, beside the program, what it writes while a mark goes on: until so little is left that a short pause is
// enough for it.
//
//     begin()       protects the heap piece by piece, and rereads all that is black there
//     catch_up()    rounds: lists what was written, protects it again, rereads it; then catch_up_hot()
//     -- pause --   list..., reread(): what was written since the last round
//
// A page that is written waits for the pause, unless a round comes by first. While a round goes through the heap others
// are written, so rounds stop getting smaller at some time. Then pieces that are written to much more than most are
// visited alone: the next visit comes sooner, and finds less. What is left by then goes into the pause, or, when that
// is too much, is listed and protected there, while no thread runs, and reread after it.
//
// Each protection of 2 MiB makes other processors flush their TLBs (15 us on a virtual machine), each first write to a
// protected page costs the program 2 to 20 us; mark_cycle.h tells why pages are protected only after the first mark.
//
// Threads: the scanner's. Called by: mark_cycle.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/heap_view.h"
#include "scan/marker.h"
#include "scan/pace.h"
#include "scan/pagemap.h"
#include "scan/verdict.h"
#include "scan/world.h"

namespace arenascan::scan {

class Rereader {
 public:
  Rereader(alloc::HeapView heap, Marker& marker, const Pagemap& pagemap) noexcept
      : heap_(heap), marker_(marker), pagemap_(pagemap) {}

  // Each returns kWatchLost when writes can no longer be watched, or what stopped it. The world runs.
  Incomplete begin(Pace& pace) noexcept;
  Incomplete catch_up(Pace& pace) noexcept;
  // The hot pieces once more: short enough for what the pause needs to stay in the caches.
  Incomplete catch_up_hot(Pace& pace) noexcept;
  // Marks on until nothing is grey.
  Incomplete drain(Pace& pace, Phase phase) noexcept;

  // How long rereading will take in a pause that follows at once, about.
  [[nodiscard]] std::uint64_t expected_ns() const noexcept { return expected_pages_ * kNsPerPage; }

  // With the world stopped and the heap locked: what was written since; how long rereading that takes; and doing it.
  Incomplete list_and_protect_locked() noexcept;
  // Without protection, and in two steps: between them, a stopped thread that spins does its part.
  Incomplete begin_list_locked(World& world) noexcept;
  Incomplete end_list(World& world) noexcept;
  [[nodiscard]] std::size_t listed_pages() const noexcept { return pages_; }
  [[nodiscard]] std::uint64_t listed_ns() const noexcept { return pages_ * kNsPerPage; }
  void reread(Marker::Time time = Marker::Time::kShort) noexcept;

 private:
  static constexpr std::uint64_t kNsPerPage = 1'000;  // no longer, on machines of the 2020s

  enum class Protect : std::uint8_t { kNo, kAgain };
  [[nodiscard]] AddressRange watched() noexcept;
  [[nodiscard]] AddressRange in_use_locked() const noexcept;
  void begin_list() noexcept;
  static void add_run(AddressRange run, void* rereader) noexcept;
  Incomplete list(AddressRange range, Protect protect) noexcept;
  enum class Visit : std::uint8_t { kAll, kHot };
  Incomplete visit(Visit which, Pace& pace, std::size_t& pages) noexcept;
  Incomplete visit_until_settled(Visit which, Pace& pace) noexcept;

  alloc::HeapView heap_;
  Marker& marker_;
  const Pagemap& pagemap_;
  alloc::MetaVector<AddressRange> written_;
  std::size_t pages_ = 0;  // of written_
  bool fits_ = true;
  WrittenQuestion question_;
  AddressRange offered_;     // what it is about
  bool is_offered_ = false;  // there was room for the answer
  std::size_t expected_pages_ = 0;
  alloc::MetaVector<std::uint32_t> by_piece_;  // pages that the last visit found written
};

}  // namespace arenascan::scan
