#include "api/report/suppressions.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "alloc/check.h"

namespace arenascan::api::report {
namespace {

// "FILE:LINE:COLUMN" without the numbers.
std::string_view file_of(std::string_view place) noexcept {
  for (int numbers = 0; numbers < 2; ++numbers) {
    const std::size_t colon = place.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == place.size()) break;
    if (place.find_first_not_of("0123456789", colon + 1) != std::string_view::npos) break;
    place = place.substr(0, colon);
  }
  return place;
}

}  // namespace

std::size_t Suppressions::slot_of_locked(alloc::StackId stack) const noexcept {
  constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;
  const std::size_t mask = answers_.size() - 1;
  std::size_t slot = static_cast<std::size_t>((stack * kGoldenRatio) >> 32) & mask;
  while (answers_[slot].stack != alloc::kNoStack && answers_[slot].stack != stack) slot = (slot + 1) & mask;
  return slot;
}

// Null: it is not known.
const Suppressions::Answer* Suppressions::answer_locked(alloc::StackId stack) const noexcept {
  if (answers_.empty() || stack == alloc::kNoStack) return nullptr;
  const Answer& answer = answers_[slot_of_locked(stack)];
  return answer.stack == stack ? &answer : nullptr;
}

std::uint32_t Suppressions::covering(alloc::StackId stack) noexcept {
  const std::scoped_lock guard(mutex_);
  const Answer* const answer = answer_locked(stack);
  return answer != nullptr ? answer->pattern : kNone;
}

bool Suppressions::was_used(std::size_t i) noexcept {
  const std::scoped_lock guard(mutex_);
  return i < used_.size() && used_[i] != 0;
}

bool Suppressions::has_unused() noexcept {
  const std::scoped_lock guard(mutex_);
  return std::count(used_.begin(), used_.end(), 1) != static_cast<std::ptrdiff_t>(list_.size());
}

bool Suppressions::grow_locked() noexcept {
  constexpr std::size_t kFirstSlots = 256;
  static_assert(alloc::kNoStack == 0);  // an empty slot
  alloc::MetaVector<Answer> old;
  if (!old.resize(answers_.empty() ? kFirstSlots : answers_.size() * 2)) return false;
  answers_.swap(old);
  for (const Answer& answer : old) {
    if (answer.stack != alloc::kNoStack) answers_[slot_of_locked(answer.stack)] = answer;
  }
  return true;
}

// Without memory it counts as unused.
void Suppressions::note_used_locked(std::uint32_t pattern) noexcept {
  if (used_.resize(list_.size())) used_[pattern] = 1;
}

// Without memory it is asked again the next time.
void Suppressions::keep(Answer answer) noexcept {
  const std::scoped_lock guard(mutex_);
  if (answer.pattern != kNone) note_used_locked(answer.pattern);
  if (answer_locked(answer.stack) != nullptr) return;
  if (answer_count_ * 2 >= answers_.size() && !grow_locked()) return;
  answers_[slot_of_locked(answer.stack)] = answer;
  ++answer_count_;
}

Suppressions::Search::~Search() {
  if (resolver_ == nullptr) return;
  const bool is_without_symbols = resolver_->is_without_symbols();
  resolver_->~Resolver();
  alloc::meta_free(resolver_);
  if (!is_without_symbols) return;
  static constinit std::atomic<bool> told{false};  // any thread; relaxed: once is enough
  if (told.exchange(true, std::memory_order_relaxed)) return;
  alloc::write_line(
      "arenascan: no command resolves symbols here (options symbolize, symbolizer), so suppressions are held against "
      "modules only, not against functions and files");
}

std::uint32_t Suppressions::Search::find(alloc::StackId stack) noexcept {
  std::uint32_t found = kNone;
  if (resolver_ == nullptr) {
    void* const memory = alloc::meta_allocate(sizeof(Resolver));
    if (memory == nullptr) return found;
    resolver_ = new (memory) Resolver;
  }
  const auto try_name = [&](std::string_view name) {
    if (found == kNone) found = suppressions_.list_.first_match(name);
  };
  for (const std::uintptr_t return_address : stacks_.frames(stack)) {
    try_name(resolver_->module_of(return_address - 1).path);
    if (found != kNone) break;
    resolver_->resolve(return_address - 1, [&](const ResolvedFrame& frame) {
      try_name(frame.source.function);
      try_name(file_of(frame.source.place));
    });
    if (found != kNone) break;
  }
  return found;
}

bool Suppressions::Search::covers(alloc::StackId stack) noexcept {
  {
    const std::scoped_lock guard(suppressions_.mutex_);
    if (const Answer* const answer = suppressions_.answer_locked(stack)) return answer->pattern != kNone;
  }
  if (stack == alloc::kNoStack) return false;
  const std::uint32_t pattern = find(stack);
  suppressions_.keep({stack, pattern});
  return pattern != kNone;
}

}  // namespace arenascan::api::report
