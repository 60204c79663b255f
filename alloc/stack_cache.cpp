#include "alloc/stack_cache.h"

#include <algorithm>
#include <array>
#include <bit>

namespace arenascan::alloc {

void StackCache::remember(StackTables& tables, const Origin& origin, StackId stack, const Trail& trail) noexcept {
  if (!trail.usable || stack == kNoStack) return;
  const FrameState caller = origin.caller();
  std::array<std::uintptr_t, 3 + Trail::kMaxSteps> words;
  const auto only_returns = [](const TrailStep& step) { return step.frame_pointer_at == TrailStep::kNone; };
  const bool is_plain = std::all_of(trail.steps, trail.steps + trail.count, only_returns);
  words[0] = std::uint64_t{trail.count} << kCountShift | (is_plain ? kOnlyReturns : 0) |
             (trail.compares_fp ? kComparesFp : 0) | (trail.ends_by_fp ? kEndsByFp : 0) | stack;
  words[1] = trail.compares_fp ? caller.fp - caller.sp : 0;
  for (std::uint32_t i = 0; i < trail.count; ++i) words[2 + i] = std::bit_cast<std::uint64_t>(trail.steps[i]);
  std::size_t length = 2 + std::size_t{trail.count};
  if (trail.ends_by_fp) words[length++] = std::bit_cast<std::uint64_t>(trail.end);
  const StackId id = tables.trails.intern({words.data(), length});
  if (id == kNoStack) return;
  const Key key = key_of(origin.entry_frame(), caller);
  auto& entries = sets_[key.set].entries;
  for (std::size_t i = kWays - 1; i > 0; --i) entries[i] = entries[i - 1];
  entries[0] = key.tag << 32 | id;
}

[[gnu::no_sanitize_address]] bool StackCache::ends_by_fp(std::uint64_t end, const FrameState& caller) noexcept {
  const auto step = std::bit_cast<TrailStep>(end);
  const auto* const words = reinterpret_cast<const std::uintptr_t*>(caller.sp);
  const std::uintptr_t fp = step.frame_pointer_at == TrailStep::kNone ? caller.fp : words[step.frame_pointer_at];
  return !unwind_follows(fp, reinterpret_cast<std::uintptr_t>(words + step.return_at));
}

}  // namespace arenascan::alloc
