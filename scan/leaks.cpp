#include "scan/leaks.h"

#include <algorithm>
#include <bit>
#include <tuple>

namespace arenascan::scan {

using alloc::MetaVector;
using alloc::Object;

namespace {

constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;

enum Place : std::uint8_t { kUnseen, kMember, kHead };

template <typename T>
[[nodiscard]] bool fill(MetaVector<T>& vector, std::size_t count, T value) noexcept {
  if (!vector.reserve(count)) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if (!vector.push_back(value)) return false;
  }
  return true;
}

}  // namespace

std::size_t OrphanIndex::slot_of(const Object& object) const noexcept {
  return static_cast<std::size_t>((object.address() * kGoldenRatio) >> 20) & mask_;
}

bool OrphanIndex::build(const OrphanList& orphans) noexcept {
  const std::size_t slots = std::bit_ceil(orphans.size() * 2 + 2);
  mask_ = slots - 1;
  if (!fill(slots_, slots, kNone)) return false;
  for (std::uint32_t i = 0; i < orphans.size(); ++i) {
    std::size_t slot = slot_of(orphans[i].object);
    while (slots_[slot] != kNone) slot = (slot + 1) & mask_;
    slots_[slot] = i;
  }
  return true;
}

std::uint32_t OrphanIndex::find(const OrphanList& orphans, const Object& object) const noexcept {
  for (std::size_t slot = slot_of(object); slots_[slot] != kNone; slot = (slot + 1) & mask_) {
    if (orphans[slots_[slot]].object == object) return slots_[slot];
  }
  return kNone;
}

bool find_direct(alloc::HeapView heap, const Marker& marker, const OrphanList& orphans,
                 MetaVector<std::uint8_t>& direct) noexcept {
  OrphanIndex index;
  MetaVector<std::uint32_t> to_read;
  direct.clear();
  if (!index.build(orphans) || !fill(direct, orphans.size(), std::uint8_t{kUnseen})) return false;
  if (!to_read.reserve(orphans.size())) return false;

  for (std::uint32_t head = 0; head < orphans.size(); ++head) {
    if (direct[head] != kUnseen) continue;
    direct[head] = kHead;
    bool fits = to_read.push_back(head);
    while (!to_read.empty()) {
      const Orphan& orphan = orphans[to_read.pop_back()];
      if ((orphan.object.state() & alloc::state::kNoScan) != 0) continue;
      const std::uintptr_t begin = orphan.object.address();
      marker.for_each_word(begin, begin + orphan.bytes, [&](std::uintptr_t word) {
        Object object;
        if (!heap.find(word, object)) return;
        const std::uint32_t other = index.find(orphans, object);
        if (other == OrphanIndex::kNone || other == head) return;
        if (direct[other] == kUnseen) fits = to_read.push_back(other) && fits;
        direct[other] = kMember;
      });
    }
    if (!fits) return false;
  }
  for (std::uint8_t& place : direct) place = place == kHead ? 1 : 0;
  return true;
}

bool add_to_groups(const Orphan& orphan, bool direct, MetaVector<Group>& ungrouped) noexcept {
  Group group;
  group.stack = alloc::Birth::unpack(orphan.birth).stack;
  group.direct = direct;
  group.objects = 1;
  group.bytes = orphan.bytes;
  group.example = orphan.object.address();
  return ungrouped.push_back(group);
}

void finish_groups(MetaVector<Group>& groups) noexcept {
  const auto kind = [](const Group& g) { return std::tuple(g.stack, !g.direct); };
  std::sort(groups.begin(), groups.end(), [&](const Group& a, const Group& b) {
    return std::tuple(kind(a), a.example) < std::tuple(kind(b), b.example);
  });
  std::size_t count = 0;
  for (const Group& group : groups) {
    if (count != 0 && kind(groups[count - 1]) == kind(group)) {
      groups[count - 1].objects += group.objects;
      groups[count - 1].bytes += group.bytes;
    } else {
      groups[count++] = group;
    }
  }
  groups.truncate(count);
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return std::tuple(!a.direct, ~a.bytes, a.stack) < std::tuple(!b.direct, ~b.bytes, b.stack);
  });
}

}  // namespace arenascan::scan
