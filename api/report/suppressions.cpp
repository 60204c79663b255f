#include "api/report/suppressions.h"

#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::api::report {
namespace {

constexpr std::string_view kBlank = " \t\r";
constexpr std::string_view kKind = "leak:";

std::string_view trimmed(std::string_view line) noexcept {
  const std::size_t begin = line.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kBlank) - begin + 1);
}

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

// Of the choices that a * leaves, the earliest place is as good as any, but for the last piece before a $.
bool pattern_matches(std::string_view pattern, std::string_view name) noexcept {
  if (name.empty()) return false;
  bool is_bound = pattern.starts_with('^');  // the next piece has to stand where we are
  if (is_bound) pattern.remove_prefix(1);
  const bool is_bound_at_end = pattern.ends_with('$');
  if (is_bound_at_end) pattern.remove_suffix(1);
  std::size_t at = 0;
  for (;;) {
    const std::size_t star = pattern.find('*');
    const std::string_view piece = pattern.substr(0, star);
    const bool is_last = star == std::string_view::npos;
    if (is_last && is_bound_at_end) {
      if (name.size() - at < piece.size()) return false;
      const bool fits = name.ends_with(piece);
      return is_bound ? fits && name.size() - at == piece.size() : fits;
    }
    const std::size_t found = name.find(piece, at);
    if (found == std::string_view::npos || (is_bound && found != at)) return false;
    if (is_last) return true;
    at = found + piece.size();
    is_bound = false;
    pattern.remove_prefix(star + 1);
  }
}

bool Suppressions::add(std::string_view text, std::string_view source, Complaint complain) noexcept {
  auto* const copy = static_cast<char*>(alloc::meta_allocate(text.size() + 1));
  if (copy == nullptr) return false;
  std::memcpy(copy, text.data(), text.size());
  bool is_good = true;
  std::string_view rest(copy, text.size());
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    if (!line.starts_with(kKind) || line.size() == kKind.size()) {
      alloc::FixedText words;
      words.text("arenascan: suppressions of ").text(source).text(", line ").decimal(number).text(": ");
      words.quoted(line).text(" is none; right would be leak:PATTERN, or a comment that begins with #");
      complain(words.view());
      is_good = false;
    } else if (!patterns_.push_back({line.substr(kKind.size())})) {
      return false;
    }
  }
  return is_good;
}

bool Suppressions::add_file(const char* path, Complaint complain) noexcept {
  constexpr std::size_t kFirstGuess = 16384;
  constexpr std::size_t kMostBytes = std::size_t{64} << 20;
  std::ptrdiff_t length = 0;
  for (std::size_t capacity = kFirstGuess; capacity <= kMostBytes; capacity *= 4) {
    auto* const buffer = static_cast<char*>(alloc::meta_allocate(capacity));
    length = buffer == nullptr ? -1 : alloc::os_read_file(path, buffer, capacity);
    const bool is_whole = length >= 0 && static_cast<std::size_t>(length) < capacity;
    const bool is_good = is_whole && add({buffer, static_cast<std::size_t>(length)}, path, complain);
    alloc::meta_free(buffer);
    if (is_whole) return is_good;
    if (length < 0) break;
  }
  alloc::FixedText words;
  words.text("arenascan: the file with suppressions, ").quoted(path);
  words.text(length < 0 ? ", cannot be read" : ", is larger than 64 MiB");
  complain(words.view());
  return false;
}

std::uint32_t Suppressions::first_match(std::string_view name) const noexcept {
  for (std::uint32_t i = 0; i < patterns_.size(); ++i) {
    if (pattern_matches(patterns_[i].text, name)) return i;
  }
  return kNone;
}

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
  return patterns_[i].used;
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

// Without memory it is asked again the next time.
void Suppressions::keep(Answer answer) noexcept {
  const std::scoped_lock guard(mutex_);
  if (answer.pattern != kNone) patterns_[answer.pattern].used = true;
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
    if (found == kNone) found = suppressions_.first_match(name);
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
