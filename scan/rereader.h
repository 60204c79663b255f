// Reading again, beside the program, what it writes while a mark goes on: until so little is left that a short pause is
// enough for it.
//
//     begin()       piece by piece: lists what was written since the last scan protected it (all, the first time),
//                   protects it, and rereads what is black there
//     catch_up()    rounds: the same for what was written since the last one; then catch_up_hot()
//     -- pause --   list..., reread(): what was written since the last round
//     release_busy()
//
// A page that has been protected since the last scan, and was not written, holds what it held when this mark read it:
// begin() passes it over. begin_anew() does not, for a mark that has read words which it could not follow.
//
// A page that is written waits for the pause, unless a round comes by first. While a round goes through the heap others
// are written, so rounds stop getting smaller at some time. Then pieces that are written to much more than most are
// visited alone: the next visit comes sooner, and finds less. What is left by then goes into the pause, or, when that
// is too much, is listed and protected in pauses, part by part, and reread while the program runs only now and then.
//
// Each protection of 2 MiB makes other processors flush their TLBs (15 us on a virtual machine), each first write to a
// protected page costs the program 2 to 20 us; mark_cycle.h tells why pages are protected only after the first mark.
// Pieces that were written to all over would be protected between this scan and the next for nothing: release_busy().
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
#include "scan/write_watch.h"

namespace arenascan::scan {

class Rereader {
 public:
  Rereader(alloc::HeapView heap, Marker& marker, const Pagemap& pagemap) noexcept
      : heap_(heap), marker_(marker), pagemap_(pagemap) {}

  // Each returns kWatchLost when writes can no longer be watched, or what stopped it. The world runs.
  Incomplete begin(Pace& pace) noexcept;
  // The same, and all that is black is read again.
  Incomplete begin_anew(Pace& pace) noexcept;
  Incomplete catch_up(Pace& pace) noexcept;
  // The hot pieces once more: short enough for what the pause needs to stay in the caches.
  Incomplete catch_up_hot(Pace& pace) noexcept;
  // The same by what the last list told, which was made in a pause that was too short for it; nothing happens where
  // most of that lies in no hot piece.
  Incomplete catch_up_listed(Pace& pace) noexcept;
  // Takes protection back where so much was written that most would be before the next scan: page by page it costs
  // the program several times as much.
  Incomplete release_busy(const WriteWatch& watch, Pace& pace) noexcept;
  // Marks on until nothing is grey.
  Incomplete drain(Pace& pace, Phase phase) noexcept;

  // How long rereading will take in a pause that follows at once, about.
  [[nodiscard]] std::uint64_t expected_ns() const noexcept { return (unlisted_pages_ + new_pages_) * kNsPerPage; }

  // No fewer can be hoped for.
  [[nodiscard]] bool expects_little() const noexcept { return unlisted_pages_ + new_pages_ <= kFewPages; }

  // With the world stopped: lists, and protects, what was written, from where the last such list ended to where
  // `deadline_ns` is over, and a little more.
  Incomplete list_and_protect(std::uint64_t deadline_ns) noexcept;
  // The program ran for so long since.
  void note_run(std::uint64_t ns) noexcept { new_pages_ += ns / kNsPerPage; }

  // The same for all of the heap, without protection, and in two steps: a stopped thread that spins begins with it, and
  // the second step joins in, and does not wait for what that one, without a processor, leaves undone. To be followed
  // by await_errand() (errand.h) when the world goes on.
  void begin_list_locked() noexcept;
  Incomplete end_list() noexcept;

  // How long it takes to reread what is listed; and doing so, until `deadline_ns` is over: false then.
  [[nodiscard]] std::uint64_t listed_ns() const noexcept { return pages_ * kNsPerPage; }
  bool reread_until(std::uint64_t deadline_ns, Marker::Time time) noexcept;

 private:
  // To reread one takes no longer, on machines of the 2020s; and to write to one that is protected takes no less.
  static constexpr std::uint64_t kNsPerPage = 1'000;
  static constexpr std::size_t kFewPages = 64;

  enum class Protect : std::uint8_t { kNo, kAgain };
  [[nodiscard]] AddressRange watched() noexcept;
  [[nodiscard]] AddressRange in_use_locked() const noexcept;
  void begin_list() noexcept;
  void set_expected(std::size_t pages) noexcept;
  static void add_run(AddressRange run, void* rereader) noexcept;
  Incomplete list(AddressRange range, Protect protect) noexcept;
  enum class Visit : std::uint8_t { kWhole, kFirst, kAll, kHot };
  Incomplete begin(Visit which, Pace& pace) noexcept;
  Incomplete visit(Visit which, Pace& pace, std::size_t& pages) noexcept;
  Incomplete visit_until_settled(Visit which, Pace& pace) noexcept;

  alloc::HeapView heap_;
  Marker& marker_;
  const Pagemap& pagemap_;
  alloc::MetaVector<AddressRange> written_;
  std::size_t pages_ = 0;  // of written_
  std::size_t next_ = 0;   // of written_, to be reread
  bool fits_ = true;
  WrittenParts parts_;
  std::uintptr_t listed_to_ = 0;    // by the last list that protected
  std::size_t listed_bytes_ = 0;    // of the heap, since all of it was listed the last time:
  std::size_t unlisted_pages_ = 0;  // written before that
  std::size_t new_pages_ = 0;       // written since, about
  struct Piece {
    std::uint16_t last = 0;  // pages that the last visit found written
    std::uint16_t most = 0;  // ... that any has since the first
  };
  alloc::MetaVector<Piece> by_piece_;
};

}  // namespace arenascan::scan
