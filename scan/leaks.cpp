#include "scan/leaks.h"

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

namespace arenascan::scan {

using alloc::MetaVector;
using alloc::Object;

namespace {

constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;

template <typename T>
[[nodiscard]] bool fill(MetaVector<T>& vector, std::size_t count, T value) noexcept {
  if (!vector.reserve(count)) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if (!vector.push_back(value)) return false;
  }
  return true;
}

// An orphan on the path of a depth-first walk, and the next of its edges to follow.
struct Visit {
  std::uint32_t orphan;
  std::uint32_t edge;
};

// Marks all that `start` leads to as seen; adds each orphan to `finished` when all its edges have been followed.
[[nodiscard]] bool walk(const OrphanGraph& graph, std::uint32_t start, MetaVector<std::uint8_t>& seen,
                        MetaVector<Visit>& path, MetaVector<std::uint32_t>* finished) noexcept {
  seen[start] = 1;
  if (!path.push_back({start, graph.first[start]})) return false;
  while (!path.empty()) {
    Visit& visit = path[path.size() - 1];
    if (visit.edge == graph.first[visit.orphan + 1]) {
      if (finished != nullptr && !finished->push_back(visit.orphan)) return false;
      path.pop_back();
      continue;
    }
    const std::uint32_t target = graph.targets[visit.edge++];
    if (seen[target] != 0) continue;
    seen[target] = 1;
    if (!path.push_back({target, graph.first[target]})) return false;
  }
  return true;
}

}  // namespace

std::size_t OrphanIndex::place_of(std::uintptr_t address) const noexcept {
  return static_cast<std::size_t>((address * kGoldenRatio) >> 20) & mask_;
}

bool OrphanIndex::build(const OrphanList& orphans) noexcept {
  const std::size_t places = std::bit_ceil(orphans.size() * 2 + 2);
  mask_ = places - 1;
  if (!fill(places_, places, kNone)) return false;
  for (std::uint32_t i = 0; i < orphans.size(); ++i) {
    std::size_t place = place_of(orphans[i].address);
    while (places_[place] != kNone) place = (place + 1) & mask_;
    places_[place] = i;
  }
  return true;
}

std::uint32_t OrphanIndex::find(const OrphanList& orphans, std::uintptr_t address) const noexcept {
  for (std::size_t place = place_of(address); places_[place] != kNone; place = (place + 1) & mask_) {
    if (orphans[places_[place]].address == address) return places_[place];
  }
  return kNone;
}

// Nearly all that orphans point to are objects that were reached, which lie anywhere: of those nothing is read.
bool OrphanGraph::build(alloc::HeapView heap, const Marker& marker, const OrphanList& orphans) noexcept {
  OrphanIndex index;
  if (!index.build(orphans) || !first.reserve(orphans.size() + 1)) return false;
  bool fits = true;
  for_each_fetched(orphans, fetch_contents, [&](const Orphan& orphan) {
    fits = fits && first.push_back(static_cast<std::uint32_t>(targets.size()));
    if ((orphan.object.state() & alloc::state::kNoScan) != 0) return;
    marker.for_each_word(orphan.address, orphan.address + orphan.bytes, [&](std::uintptr_t word, std::uintptr_t) {
      const std::uintptr_t slot = heap.slot_of(word);
      if (slot == 0) return;
      const std::uint32_t target = index.find(orphans, slot);
      if (target == OrphanIndex::kNone) return;
      const Object& object = orphans[target].object;
      if (alloc::state::is_allocated(object.state()) && object.contains(word)) {
        fits = fits && targets.push_back(target);
      }
    });
  });
  return fits && first.push_back(static_cast<std::uint32_t>(targets.size()));
}

bool find_direct(const OrphanGraph& graph, MetaVector<std::uint8_t>& direct) noexcept {
  const std::size_t count = graph.first.size() - 1;
  MetaVector<std::uint8_t> seen;
  MetaVector<std::uint32_t> finished;
  MetaVector<Visit> path;
  direct.clear();
  if (!fill(seen, count, std::uint8_t{0}) || !fill(direct, count, std::uint8_t{0})) return false;
  if (!finished.reserve(count) || !path.reserve(count)) return false;

  for (std::uint32_t start = 0; start < count; ++start) {
    if (seen[start] == 0 && !walk(graph, start, seen, path, &finished)) return false;
  }
  for (std::uint8_t& mark : seen) mark = 0;
  while (!finished.empty()) {
    const std::uint32_t start = finished.pop_back();
    if (seen[start] != 0) continue;
    direct[start] = 1;
    if (!walk(graph, start, seen, path, nullptr)) return false;
  }
  return true;
}

bool GroupBuilder::add(const Orphan& orphan, bool direct) noexcept {
  const std::uint32_t stack = orphan.birth.stack;
  std::uint32_t& recent = recent_[(stack * 2 + (direct ? 1 : 0)) % kRecent];
  if (recent < groups_.size() && groups_[recent].stack == stack && groups_[recent].direct == direct) {
    ++groups_[recent].objects;
    groups_[recent].bytes += orphan.bytes;
    return true;
  }
  Group group;
  group.stack = stack;
  group.direct = direct;
  group.objects = 1;
  group.bytes = orphan.bytes;
  group.example = orphan.object.address();
  recent = static_cast<std::uint32_t>(groups_.size());
  return groups_.push_back(group);
}

MetaVector<Group> GroupBuilder::finish() noexcept {
  const auto kind = [](const Group& g) { return std::tuple(g.stack, !g.direct); };
  std::sort(groups_.begin(), groups_.end(), [&](const Group& a, const Group& b) {
    return std::tuple(kind(a), a.example) < std::tuple(kind(b), b.example);
  });
  std::size_t count = 0;
  for (const Group& group : groups_) {
    if (count != 0 && kind(groups_[count - 1]) == kind(group)) {
      groups_[count - 1].objects += group.objects;
      groups_[count - 1].bytes += group.bytes;
    } else {
      groups_[count++] = group;
    }
  }
  groups_.truncate(count);
  std::sort(groups_.begin(), groups_.end(), [](const Group& a, const Group& b) {
    return std::tuple(!a.direct, ~a.bytes, a.stack) < std::tuple(!b.direct, ~b.bytes, b.stack);
  });
  return std::move(groups_);
}

}  // namespace arenascan::scan
