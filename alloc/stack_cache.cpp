#include "alloc/stack_cache.h"

#include <algorithm>
#include <array>
#include <bit>

namespace arenascan::alloc {

void StackCache::remember(StackTables& tables, const Origin& origin, StackId stack, const Trail& trail) noexcept {
  if (!trail.usable || stack == kNoStack) return;
  const FrameState caller = origin.caller();
  std::array<std::uintptr_t, 2 + Trail::kMaxSteps> words;
  const auto only_returns = [](const TrailStep& step) { return step.frame_pointer_at == TrailStep::kNone; };
  const bool is_plain = std::all_of(trail.steps, trail.steps + trail.count, only_returns);
  words[0] = std::uint64_t{trail.count} << kCountShift | (is_plain ? kOnlyReturns : 0) |
             (trail.compares_fp ? kComparesFp : 0) | stack;
  words[1] = trail.compares_fp ? caller.fp - caller.sp : 0;
  for (std::uint32_t i = 0; i < trail.count; ++i) words[2 + i] = std::bit_cast<std::uint64_t>(trail.steps[i]);
  const StackId id = tables.trails.intern({words.data(), 2 + std::size_t{trail.count}});
  if (id == kNoStack) return;
  const Key key = key_of(origin.entry_frame(), caller);
  auto& entries = sets_[key.set].entries;
  for (std::size_t i = kWays - 1; i > 0; --i) entries[i] = entries[i - 1];
  entries[0] = key.tag << 32 | id;
}

}  // namespace arenascan::alloc
