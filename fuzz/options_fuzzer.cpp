// Bytes as a text of options, against a second parser that is slow and plain: the same options set, as many complaints,
// each one printable line that names the source.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "alloc/options.h"
#include "fuzz/require.h"

using namespace arenascan;
using fuzz::require;

namespace {

std::size_t g_complaints = 0;

void check_complaint(std::string_view line) {
  ++g_complaints;
  require(line.starts_with("arenascan: input: "));
  require(std::none_of(line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }));
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> entries(1);
  char quote = 0;
  for (const char c : text) {
    const bool is_separator = quote == 0 && std::string_view(": ,\t\n\r").find(c) != std::string_view::npos;
    if (is_separator) {
      if (!entries.back().empty()) entries.emplace_back();
      continue;
    }
    if (quote == c) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    }
    entries.back() += c;
  }
  if (entries.back().empty()) entries.pop_back();
  return entries;
}

std::string without_quotes(const std::string& value) {
  const bool is_quoted = value.size() >= 2 && value.front() == value.back() && (value[0] == '"' || value[0] == '\'');
  return is_quoted ? value.substr(1, value.size() - 2) : value;
}

bool set(bool& option, const std::string& value, std::uint64_t, std::uint64_t) {
  const std::vector<std::string> words = {"0", "false", "no", "off", "1", "true", "yes", "on"};
  const auto word = std::find(words.begin(), words.end(), value);
  if (word == words.end()) return false;
  option = word - words.begin() >= 4;
  return true;
}

bool set(unsigned& option, const std::string& value, std::uint64_t least, std::uint64_t most) {
  if (value.empty()) return false;
  std::uint64_t number = 0;
  for (const char digit : value) {
    if (digit < '0' || digit > '9') return false;
    number = number * 10 + static_cast<std::uint64_t>(digit - '0');
    if (number > std::numeric_limits<unsigned>::max()) return false;
  }
  if (number < least || number > most) return false;
  option = static_cast<unsigned>(number);
  return true;
}

bool set(alloc::OptionText& option, const std::string& value, std::uint64_t, std::uint64_t) {
  if (value.size() >= sizeof(option.chars)) return false;
  std::fill(std::begin(option.chars), std::end(option.chars), '\0');
  std::copy(value.begin(), value.end(), option.chars);
  return true;
}

bool set(alloc::StackMode& option, const std::string& value, std::uint64_t least, std::uint64_t most) {
  const std::vector<std::string> names = {"off", "full", "fp"};
  const auto name = std::find(names.begin(), names.end(), value);
  unsigned number = static_cast<unsigned>(name - names.begin());
  if (name == names.end() && !set(number, value, least, most)) return false;
  option = static_cast<alloc::StackMode>(number);
  return true;
}

bool set_by_name(alloc::Options& options, const std::string& name, const std::string& value) {
#define ARENA_OPTION(type, field, default_value, least, most, help) \
  if (name == #field) return set(options.field, value, least, most);
#include "alloc/options.def"
#undef ARENA_OPTION
  return false;
}

template <typename T>
bool same(const T& a, const T& b) {
  return a == b;
}
bool same(const alloc::OptionText& a, const alloc::OptionText& b) {
  return std::equal(std::begin(a.chars), std::end(a.chars), std::begin(b.chars));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  alloc::Options parsed;
  g_complaints = 0;
  const std::size_t told = alloc::parse_options(text, "input", parsed, check_complaint);

  alloc::Options expected;
  std::size_t wrong = 0;
  for (const std::string& entry : split(text)) {
    const std::size_t equals = entry.find('=');
    const std::string value = equals == std::string::npos ? "" : without_quotes(entry.substr(equals + 1));
    const bool is_set = equals != std::string::npos && set_by_name(expected, entry.substr(0, equals), value);
    wrong += is_set ? 0 : 1;
  }
  require(told == wrong && g_complaints == wrong);
#define ARENA_OPTION(type, field, default_value, least, most, help) require(same(parsed.field, expected.field));
#include "alloc/options.def"
#undef ARENA_OPTION
  return 0;
}
