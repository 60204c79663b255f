// Suppressions: a text of them, up to a zero byte, and behind it a name, against a second parser and a second matcher,
// slow and plain. Each complaint is one printable line.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/report/suppression_list.h"
#include "fuzz/require.h"

using namespace arenascan;

namespace {

std::size_t g_complaints = 0;

void check_complaint(std::string_view line) {
  ++g_complaints;
  fuzz::require(line.starts_with("arenascan: suppressions of input, line "));
  for (const char c : line) fuzz::require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

// Whether the pattern fits the name from `at` on; anchored: right there. All choices are tried.
bool fits(std::string_view pattern, std::string_view name, bool anchored_at_end) {
  if (pattern.empty()) return !anchored_at_end || name.empty();
  if (pattern[0] == '*') {
    for (std::size_t skip = 0; skip <= name.size(); ++skip) {
      if (fits(pattern.substr(1), name.substr(skip), anchored_at_end)) return true;
    }
    return false;
  }
  return !name.empty() && name[0] == pattern[0] && fits(pattern.substr(1), name.substr(1), anchored_at_end);
}

bool matches_slowly(std::string_view pattern, std::string_view name) {
  if (name.empty()) return false;
  const bool at_begin = pattern.starts_with('^');
  if (at_begin) pattern.remove_prefix(1);
  const bool at_end = pattern.ends_with('$');
  if (at_end) pattern.remove_suffix(1);
  for (std::size_t at = 0; at <= name.size(); ++at) {
    if (fits(pattern, name.substr(at), at_end)) return true;
    if (at_begin) break;
  }
  return false;
}

// Trying all choices takes for ever with many stars.
bool is_tame(std::string_view pattern) {
  std::size_t stars = 0;
  for (const char c : pattern) stars += c == '*' ? 1 : 0;
  return stars <= 3 && pattern.size() <= 64;
}

struct Parsed {
  std::vector<std::string> patterns;
  std::size_t bad = 0;
};

Parsed parse_slowly(std::string_view text) {
  Parsed parsed;
  std::string line;
  const auto end_line = [&] {
    const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!line.empty() && is_blank(line.back())) line.pop_back();
    while (!line.empty() && is_blank(line.front())) line.erase(line.begin());
    if (line.size() > 5 && line.substr(0, 5) == "leak:") {
      parsed.patterns.push_back(line.substr(5));
    } else if (!line.empty() && line[0] != '#') {
      ++parsed.bad;
    }
    line.clear();
  };
  for (const char c : text) {
    if (c == '\n') {
      end_line();
    } else {
      line.push_back(c);
    }
  }
  end_line();
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = std::min(input.find('\0'), size);
  const std::string_view text = input.substr(0, zero);
  const std::string_view name = zero == size ? std::string_view() : input.substr(zero + 1, 32);

  g_complaints = 0;
  api::report::SuppressionList list;
  const bool is_good = list.add(text, "input", check_complaint);
  const Parsed parsed = parse_slowly(text);
  fuzz::require(is_good == (parsed.bad == 0));
  fuzz::require(g_complaints == parsed.bad);
  fuzz::require(list.size() == parsed.patterns.size());
  std::uint32_t first = api::report::SuppressionList::kNone;
  bool all_tame = true;
  for (std::uint32_t i = 0; i < list.size(); ++i) {
    fuzz::require(list.pattern(i) == parsed.patterns[i]);
    all_tame = all_tame && is_tame(list.pattern(i));
    if (!is_tame(list.pattern(i))) continue;
    const bool wanted = matches_slowly(list.pattern(i), name);
    fuzz::require(api::report::pattern_matches(list.pattern(i), name) == wanted);
    if (wanted && first == api::report::SuppressionList::kNone) first = i;
  }
  if (all_tame) fuzz::require(list.first_match(name) == first);
  return 0;
}
