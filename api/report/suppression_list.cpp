#include "api/report/suppression_list.h"

#include <cstring>

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

SuppressionList::~SuppressionList() {
  for (char* const text : texts_) alloc::meta_free(text);
}

bool SuppressionList::add(std::string_view text, std::string_view source, Complaint complain) noexcept {
  auto* const copy = static_cast<char*>(alloc::meta_allocate(text.size() + 1));
  if (copy == nullptr || !texts_.push_back(copy)) {
    alloc::meta_free(copy);
    return false;
  }
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
    } else if (!patterns_.push_back(line.substr(kKind.size()))) {
      return false;
    }
  }
  return is_good;
}

bool SuppressionList::add_file(const char* path, Complaint complain) noexcept {
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

std::uint32_t SuppressionList::first_match(std::string_view name) const noexcept {
  for (std::uint32_t i = 0; i < patterns_.size(); ++i) {
    if (pattern_matches(patterns_[i], name)) return i;
  }
  return kNone;
}

}  // namespace arenascan::api::report
