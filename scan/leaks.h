// From orphans at rest to leaks: which are direct, which only hang from another leak, and which belong together.
//
// A leaked list or tree should be reported by its head. Of the orphans that can be reached from other orphans only
// those are direct leaks that nothing outside their own cycle points to, one for each cycle:
//
//     a list whose head is gone    1 direct, the rest indirect
//     a cycle, with what it holds  1 direct, the rest indirect
//     an object that points to itself: direct
//
// Two depth-first walks find them. The first notes the order in which orphans are finished; the second starts from the
// orphan finished last, then from the last one finished that was not seen yet, and so on. Whatever nothing else leads
// to is finished after all that it leads to, so each start of the second walk is a direct leak and all others are
// indirect. (It is the first half of Kosaraju's algorithm for strongly connected components.)
//
// Threads: the scanner's. Called by: scanner.
#pragma once

#include <array>
#include <cstdint>

#include "alloc/meta_vector.h"
#include "scan/orphans.h"
#include "scan/verdict.h"

namespace arenascan::scan {

// Finds the position of an orphan in its list by the address of its slot. Built once for a list that does not change.
class OrphanIndex {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  [[nodiscard]] bool build(const OrphanList& orphans) noexcept;  // false: no memory
  [[nodiscard]] std::uint32_t find(const OrphanList& orphans, std::uintptr_t address) const noexcept;

 private:
  [[nodiscard]] std::size_t place_of(std::uintptr_t address) const noexcept;

  alloc::MetaVector<std::uint32_t> places_;
  std::size_t mask_ = 0;
};

// Which orphans point to which, by position: those of orphan i are targets[first[i]] to targets[first[i + 1] - 1].
struct OrphanGraph {
  alloc::MetaVector<std::uint32_t> first;
  alloc::MetaVector<std::uint32_t> targets;

  [[nodiscard]] bool build(alloc::HeapView heap, const Marker& marker,
                           const OrphanList& orphans) noexcept;  // false: no memory
};

// For each orphan of the graph, whether it is a direct leak, into `direct` (one byte each). False when there is no
// memory.
[[nodiscard]] bool find_direct(const OrphanGraph& graph, alloc::MetaVector<std::uint8_t>& direct) noexcept;

// Gathers leaks into groups of one stack and kind, in order of addresses. Most find their group at once, among those
// that were added to lately; the rest are merged at the end.
class GroupBuilder {
 public:
  [[nodiscard]] bool add(const Orphan& orphan, bool direct) noexcept;  // false: no memory

  // The groups, sorted the way they are reported.
  [[nodiscard]] alloc::MetaVector<Group> finish() noexcept;

 private:
  static constexpr std::size_t kRecent = 256;

  alloc::MetaVector<Group> groups_;
  std::array<std::uint32_t, kRecent> recent_{};  // positions, by stack
};

}  // namespace arenascan::scan
