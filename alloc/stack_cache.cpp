#include "alloc/stack_cache.h"

#include <algorithm>
#include <array>
#include <bit>

namespace arenascan::alloc {
namespace {

// A trail that is kept: | steps 62, only returns, ends by fp | step | step | ... | end |
constexpr unsigned kCountShift = 2;
constexpr std::uint64_t kEndsByFp = 1;
constexpr std::uint64_t kOnlyReturns = 2;  // no step compares a frame pointer

// A way with so many forks is given up: the stack is walked and becomes the first of its site, where a new tree begins.
constexpr int kMaxForks = 16;

std::size_t step_count(const std::uintptr_t* trail) noexcept { return trail[0] >> kCountShift; }
TrailStep step_at(const std::uintptr_t* trail, std::size_t i) noexcept {
  return std::bit_cast<TrailStep>(trail[1 + i]);
}

constexpr std::uintptr_t absolute(const TrailStep& step, std::uintptr_t sp) noexcept {
  return sp + static_cast<std::uintptr_t>(std::intptr_t{step.frame_pointer});
}

// Where the table of trails keeps this one; null when there is no room.
const std::uintptr_t* keep(StackTable& trails, const Trail& trail) noexcept {
  std::array<std::uintptr_t, 2 + Trail::kMaxSteps> words;
  const auto only_returns = [](const TrailStep& step) { return step.frame_pointer_at == TrailStep::kNone; };
  const bool is_plain = std::all_of(trail.steps, trail.steps + trail.count, only_returns);
  words[0] =
      std::uint64_t{trail.count} << kCountShift | (is_plain ? kOnlyReturns : 0) | (trail.ends_by_fp ? kEndsByFp : 0);
  for (std::uint32_t i = 0; i < trail.count; ++i) words[1 + i] = std::bit_cast<std::uint64_t>(trail.steps[i]);
  std::size_t length = 1 + std::size_t{trail.count};
  if (trail.ends_by_fp) words[length++] = std::bit_cast<std::uint64_t>(trail.end);
  const StackId id = trails.intern({words.data(), length});
  return id == kNoStack ? nullptr : trails.words(id);
}

}  // namespace

// Places in the rest of a trail are numbered behind those of an entry's words.
[[gnu::no_sanitize_address]] StackCache::Fork StackCache::fork_from_rest(const Entry& entry) noexcept {
  const FrameState caller = Origin{nullptr, entry.frame}.caller();
  const auto word_at = [&caller](std::uint64_t distance) {
    return reinterpret_cast<const std::uintptr_t*>(caller.sp)[distance];
  };
  const std::uintptr_t* expected = entry.expected;
  const std::size_t count = step_count(entry.trail);
  std::size_t i = entry.steps;
  if ((entry.trail[0] & kOnlyReturns) != 0) {
    for (; i < count; ++i) {
      const std::uintptr_t address = word_at(step_at(entry.trail, i).return_at);
      if (address != *expected++) return {kWords + 2 * i + 1, address};
    }
  }
  for (; i < count; ++i) {
    const TrailStep step = step_at(entry.trail, i);
    if (step.frame_pointer_at != TrailStep::kNone) {
      const std::uintptr_t fp = word_at(step.frame_pointer_at);
      if (fp != absolute(step, caller.sp)) return {kWords + 2 * i, fp};
      if (step.return_at == TrailStep::kNone) continue;
    }
    const std::uintptr_t address = word_at(step.return_at);
    if (address != *expected++) return {kWords + 2 * i + 1, address};
  }
  if ((entry.trail[0] & kEndsByFp) == 0) return {};
  // The walk ended because a frame pointer led nowhere: does it still?
  const TrailStep end = step_at(entry.trail, count);
  const std::uintptr_t fp = end.frame_pointer_at == TrailStep::kNone ? caller.fp : word_at(end.frame_pointer_at);
  if (unwind_follows(fp, caller.sp + end.return_at * sizeof(std::uintptr_t))) return {kWords + 2 * count, fp};
  return {};
}

std::uint64_t StackCache::hash_of_fork(std::uint64_t hash, const Fork& fork) noexcept {
  hash = (hash + fork.place) * kGoldenRatio;
  return (hash ^ hash >> 32 ^ fork.word) * kGoldenRatio;
}

const StackCache::Entry* StackCache::follow(std::uint64_t& hash, const Origin& origin) const noexcept {
  for (int forks = 0; forks < kMaxForks; ++forks) {
    const Entry* const set = set_of(hash);
    const auto* const found = std::find_if(set, set + kWays, [&](const Entry& e) { return is_for(e, hash, origin); });
    if (found == set + kWays) return nullptr;
    const Fork fork = fork_from(*found);
    if (fork.is_none()) return found;
    hash = hash_of_fork(hash, fork);
  }
  hash = hash_of(origin);
  return nullptr;
}

StackId StackCache::search(std::uint64_t hash, Origin origin) const noexcept {
  const Entry* const found = follow(hash, origin);
  return found == nullptr ? kNoStack : found->stack;
}

void StackCache::remember(StackTables& tables, const Origin& origin, StackId stack, const Trail& trail) noexcept {
  if (!trail.usable || stack == kNoStack) return;
  const FrameState caller = origin.caller();

  std::uint64_t hash = hash_of(origin);
  if (follow(hash, origin) != nullptr) return;
  Entry* const set = sets_[hash >> (64 - kSetBits)];
  std::copy_backward(set, set + kWays - 1, set + kWays);
  Entry& entry = set[0];
  entry = {};
  const auto compare = [&entry](std::size_t at, std::uintptr_t word) {
    entry.at[entry.count] = static_cast<std::uint16_t>(at);
    entry.word[entry.count++] = word;
  };
  // Origin::frame is two words below the caller's frame: the caller's frame pointer, then the return address.
  constexpr std::size_t kCaller = 2;
  compare(1, caller.pc);
  if (trail.compares_fp) compare(0, caller.fp);
  const std::uintptr_t* expected = tables.stacks.words(stack) + 2;
  std::uint32_t i = 0;
  for (; i < trail.count; ++i) {
    const TrailStep step = trail.steps[i];
    const bool has_fp = step.frame_pointer_at != TrailStep::kNone;
    const bool has_return = step.return_at != TrailStep::kNone;
    if (entry.count + (has_fp ? 1U : 0U) + (has_return ? 1U : 0U) > kWords) break;
    if ((has_fp && step.frame_pointer_at + kCaller > UINT16_MAX) ||
        (has_return && step.return_at + kCaller > UINT16_MAX)) {
      break;
    }
    if (has_fp) compare(step.frame_pointer_at + kCaller, absolute(step, caller.sp));
    if (has_return) compare(step.return_at + kCaller, *expected++);
  }
  if (i < trail.count || trail.ends_by_fp) {
    entry.trail = keep(tables.trails, trail);
    if (entry.trail == nullptr) return;  // the entry stays nobody's
  }
  entry.steps = static_cast<std::uint16_t>(i);
  entry.expected = expected;
  entry.stack = stack;
  entry.frame = origin.frame;
  entry.hash = hash;
}

}  // namespace arenascan::alloc
