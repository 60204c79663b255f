#include "api/report/groups.h"

#include <algorithm>
#include <compare>
#include <span>
#include <tuple>

namespace arenascan::api::report {
namespace {

std::span<const std::uintptr_t> first_frames(const alloc::StackTable& stacks, alloc::StackId stack,
                                             std::size_t frames) noexcept {
  const auto all = stacks.frames(stack);
  return all.first(std::min(frames, all.size()));
}

}  // namespace

bool CoarseGroup::holds(const scan::LeakedObject& object, const alloc::StackTable& stacks) const noexcept {
  if (object.direct != direct) return false;
  if (frames == SIZE_MAX || object.stack == stack) return object.stack == stack;
  return std::ranges::equal(first_frames(stacks, object.stack, frames), first_frames(stacks, stack, frames));
}

alloc::MetaVector<CoarseGroup> coarse_groups(const alloc::MetaVector<scan::Group>& leaks,
                                             const alloc::StackTable& stacks, std::size_t frames) noexcept {
  const std::size_t kept = frames == 0 ? SIZE_MAX : frames;
  alloc::MetaVector<CoarseGroup> groups;
  if (!groups.reserve(leaks.size())) return {};
  for (const scan::Group& leak : leaks) {
    if (!groups.push_back({leak.stack, kept, leak.direct, leak.objects, leak.bytes})) return {};
  }
  if (frames == 0) return groups;

  // Equal ones side by side, then merged.
  const auto compare = [&](const CoarseGroup& a, const CoarseGroup& b) {
    const auto left = first_frames(stacks, a.stack, kept);
    const auto right = first_frames(stacks, b.stack, kept);
    return std::lexicographical_compare_three_way(left.begin(), left.end(), right.begin(), right.end());
  };
  std::sort(groups.begin(), groups.end(), [&](const CoarseGroup& a, const CoarseGroup& b) {
    return a.direct != b.direct ? a.direct : std::is_lt(compare(a, b));
  });
  std::size_t count = 0;
  for (const CoarseGroup& group : groups) {
    if (count != 0 && groups[count - 1].direct == group.direct && std::is_eq(compare(groups[count - 1], group))) {
      groups[count - 1].objects += group.objects;
      groups[count - 1].bytes += group.bytes;
    } else {
      groups[count++] = group;
    }
  }
  groups.truncate(count);
  std::sort(groups.begin(), groups.end(), [](const CoarseGroup& a, const CoarseGroup& b) {
    return std::tuple(!a.direct, ~a.bytes, a.stack) < std::tuple(!b.direct, ~b.bytes, b.stack);
  });
  return groups;
}

}  // namespace arenascan::api::report
