// Orphans: objects that a finished mark left white; which of them are at rest and which still change.
//
// find_white() compares state and colour bytes a vector at a time; find_white_stopped() only where fewer objects were
// reached than there are. Only a white object costs more than its two bytes.
//
//     white = allocated and not of this epoch
//
// It is decided while the world stands: a thread that was stopped in the middle of an allocation publishes the object
// as soon as it is let go, and nothing in the object tells it from one that was there all the time. Either the search
// runs then, or keep_white() looks once more at what it found before.
//
// An orphan whose contents change although nothing reaches it has a pointer somewhere the scan does not look (a kernel
// structure, another process, an encoded word). So each orphan that is not known as a leak is hashed (XXH3): against
// its hash of the scan before, or, when it is seen for the first time, against a second look a little later. kmemleak
// does the same with CRC-32 between its scans.
//
// Invariants
//   1. An orphan is known by address and birth, which may grow old: a new object in an old orphan's slot is another
//      orphan. The address is kept, for the page that an orphan of an earlier scan lay in may lie
//      elsewhere by now.
//   2. Whether an orphan has been hashed is a bit of its own; every value of the checksum is an ordinary one.
//
// Threads: the scanner's. keep_white() with the world stopped at last; find_white() then or before; the rest while the
// program runs, so an orphan may be freed (and its slot reused) at any moment: look() tells.
//
// Called by: scanner.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "alloc/heap_view.h"
#include "alloc/meta_vector.h"
#include "scan/color.h"
#include "scan/marker.h"

namespace arenascan::scan {

struct Orphan {
  alloc::Object object;
  std::uintptr_t address = 0;
  alloc::Birth birth;
  std::uint64_t checksum = 0;
  std::uint64_t bytes = 0;
  bool hashed = false;              // `checksum` is that of an earlier look
  bool fresh_look = false;          // that look was the first, in this scan
  bool changed = false;             // two looks differed
  bool reported = false;            // was a leak in an earlier scan
  bool at_rest = false;             // suppressions were asked when nothing had reached it
  bool suppressed = false;          // and one matches
  std::uint16_t scans_at_rest = 0;  // that have found it so, one after the other

  // Whether the slot still holds the object. State before birth: the acquire of a new tenant's state shows its birth
  // too.
  [[nodiscard]] bool is_same_object() const noexcept {
    return alloc::state::is_allocated(object.state()) && object.birth().can_be(birth);
  }
};

using OrphanList = alloc::MetaVector<Orphan>;

// All white objects of the pages below the number `page_end`, in address order. False when there is no memory for the
// list.
[[nodiscard]] bool find_white(alloc::HeapView heap, std::size_t page_end, Epoch epoch, OrphanList& found) noexcept;

// The same after a mark that was made with the world stopped, which still stands. Pages whose objects were all reached
// are told by two numbers, and nothing else of them is read.
[[nodiscard]] bool find_white_stopped(alloc::HeapView heap, std::size_t page_end, const Marker& marker,
                                      OrphanList& found) noexcept;

// Drops those that have been reached since they were found, or are gone. For the stopped world that follows a search
// beside the running program; and beside it, at any time before, so that few are left then.
void keep_white(OrphanList& orphans, Epoch epoch) noexcept;

// Ask memory for the object's state, mark and record; and for its state and the beginning of its contents.
void fetch_standing(const Orphan& orphan) noexcept;
void fetch_contents(const Orphan& orphan) noexcept;

// Calls visit(orphan) for each of the list, in order, and fetch(orphan) of many in a row some time before. Orphans lie
// anywhere, most of them in an OS page of their own: what is asked for in a row is translated and fetched side by side,
// where each would wait for the one before if a visit lay between them. visit() may write to those that were visited.
template <typename List, typename Fetch, typename Visit>
void for_each_fetched(List& orphans, Fetch&& fetch, Visit&& visit) noexcept {
  constexpr std::size_t kBatch = 16;
  for (std::size_t i = 0, fetched = 0; i < orphans.size(); ++i) {
    if (i % kBatch == 0) {
      for (; fetched < std::min(orphans.size(), i + 2 * kBatch); ++fetched) fetch(orphans[fetched]);
    }
    visit(orphans[i]);
  }
}

// Copies what an earlier scan knew of the same orphans. Both lists are in address order. `stamps` lie between the
// instants of the two: where they are so many that old births do not tell what was there, nothing is copied.
void recall(OrphanList& orphans, const OrphanList& earlier, std::uint32_t stamps) noexcept;

// Hashes the orphan. The first look keeps the checksum, a later one compares and notes a change. False when the object
// is no longer there. `marker` knows which ranges cannot be read.
[[nodiscard]] bool look(Orphan& orphan, const Marker& marker) noexcept;

}  // namespace arenascan::scan
