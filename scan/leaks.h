// From orphans at rest to leaks: which are direct, which only hang from another leak, and which belong together.
//
// A leaked list or tree should be reported by its head. The orphans are taken in address order; each one that belongs to
// no clique yet becomes the head of a new one and takes in everything that can be reached from it. When that reaches the
// head of an earlier clique, that head is no head any more. What remains a head is a direct leak:
//
//     a list whose head is gone    1 direct, the rest indirect
//     a cycle, with what it holds  1 direct, the rest indirect
//     an object that points to itself: direct
//
// Each orphan is read once. The idea of cliques is Valgrind's.
//
// Threads: the scanner's. Called by: scanner.
#pragma once

#include <cstdint>

#include "alloc/meta_vector.h"
#include "scan/orphans.h"
#include "scan/verdict.h"

namespace arenascan::scan {

// Finds the position of an orphan in its list by object. Built once for a list that does not change.
class OrphanIndex {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  [[nodiscard]] bool build(const OrphanList& orphans) noexcept;  // false: no memory
  [[nodiscard]] std::uint32_t find(const OrphanList& orphans, const alloc::Object& object) const noexcept;

 private:
  [[nodiscard]] std::size_t slot_of(const alloc::Object& object) const noexcept;

  alloc::MetaVector<std::uint32_t> slots_;
  std::size_t mask_ = 0;
};

// For each of `orphans`, whether it is a direct leak, into `direct` (one byte each). False when there is no memory.
[[nodiscard]] bool find_direct(alloc::HeapView heap, const Marker& marker, const OrphanList& orphans,
                               alloc::MetaVector<std::uint8_t>& direct) noexcept;

// Adds an orphan to the groups under construction; see finish_groups. False when there is no memory.
[[nodiscard]] bool add_to_groups(const Orphan& orphan, bool direct, alloc::MetaVector<Group>& ungrouped) noexcept;

// Merges groups of one stack and kind and sorts them the way they are reported.
void finish_groups(alloc::MetaVector<Group>& groups) noexcept;

}  // namespace arenascan::scan
