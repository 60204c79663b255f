#include "alloc/option_table.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

using Kind = OptionRow::Kind;

constexpr std::string_view kSeparators = ": ,\t\n\r";
constexpr std::size_t kLongestVariable = 16384;

constexpr std::string_view kStackModes[] = {"off", "full", "fp"};

template <typename T>
T& value_of(const OptionRow& row, void* options) noexcept {
  return *reinterpret_cast<T*>(static_cast<std::byte*>(options) + row.offset);
}
template <typename T>
const T& value_of(const OptionRow& row, const void* options) noexcept {
  return *reinterpret_cast<const T*>(static_cast<const std::byte*>(options) + row.offset);
}

bool parse_flag(std::string_view value, bool& flag) noexcept {
  for (const std::string_view yes : {"1", "true", "yes", "on"}) {
    if (value == yes) return flag = true;
  }
  for (const std::string_view no : {"0", "false", "no", "off"}) {
    if (value == no) {
      flag = false;
      return true;
    }
  }
  return false;
}

bool parse_number(std::string_view value, const OptionRow& row, unsigned& number) noexcept {
  unsigned parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc{} || end != value.data() + value.size()) return false;
  if (parsed < row.least || parsed > row.most) return false;
  number = parsed;
  return true;
}

bool parse_stack_mode(std::string_view value, const OptionRow& row, StackMode& mode) noexcept {
  const auto* const named = std::find(std::begin(kStackModes), std::end(kStackModes), value);
  auto index = static_cast<unsigned>(named - std::begin(kStackModes));
  if (named == std::end(kStackModes) && !parse_number(value, row, index)) return false;
  mode = static_cast<StackMode>(index);
  return true;
}

bool parse_text(std::string_view value, OptionText& text) noexcept {
  if (value.size() >= OptionText::kCapacity) return false;
  text = OptionText{};
  std::memcpy(text.chars, value.data(), value.size());
  return true;
}

bool parse_value(std::string_view value, const OptionRow& row, void* options) noexcept {
  switch (row.kind) {
    case Kind::kFlag: return parse_flag(value, value_of<bool>(row, options));
    case Kind::kNumber: return parse_number(value, row, value_of<unsigned>(row, options));
    case Kind::kStackMode: return parse_stack_mode(value, row, value_of<StackMode>(row, options));
    case Kind::kText: break;
  }
  return parse_text(value, value_of<OptionText>(row, options));
}

void describe_values(const OptionRow& row, FixedText& line) noexcept {
  switch (row.kind) {
    case Kind::kFlag: line.text("0, 1, true, false, yes, no, on or off"); return;
    case Kind::kStackMode: line.text("off, full, fp, or 0, 1, 2 for these"); return;
    case Kind::kNumber: line.text("a number from ").decimal(row.least).text(" to ").decimal(row.most); return;
    case Kind::kText: line.text("a text of at most ").decimal(OptionText::kCapacity - 1).text(" bytes"); return;
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) noexcept {
  constexpr std::size_t kLongest = 32;
  if (a.size() > kLongest || b.size() > kLongest) return kLongest;
  std::size_t row[kLongest + 1] = {};
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

void complain_unknown(std::string_view key, std::string_view source, OptionTable table,
                      ComplaintSink complain) noexcept {
  FixedText line;
  line.text("arenascan: ").text(source).text(": unknown option ").quoted(key);
  const auto distance = [key](const OptionRow& row) { return edit_distance(key, row.name); };
  const OptionRow& nearest = *std::min_element(
      table.begin(), table.end(), [&](const OptionRow& a, const OptionRow& b) { return distance(a) < distance(b); });
  if (distance(nearest) <= 2) line.text("; did you mean \"").text(nearest.name).text("\"?");
  line.text(" valid:");
  for (const OptionRow& row : table) {
    if (!row.help.empty()) line.text(" ").text(row.name);
  }
  complain(line.view());
}

void complain_value(const OptionRow& row, std::string_view value, std::string_view source,
                    ComplaintSink complain) noexcept {
  FixedText line;
  line.text("arenascan: ").text(source).text(": option ").text(row.name).text(" is ").quoted(value).text("; it takes ");
  describe_values(row, line);
  complain(line.view());
}

std::string_view unquoted(std::string_view value) noexcept {
  const bool is_quoted = value.size() >= 2 && (value[0] == '"' || value[0] == '\'') && value.back() == value[0];
  return is_quoted ? value.substr(1, value.size() - 2) : value;
}

}  // namespace

std::string_view next_option(std::string_view& text) noexcept {
  const std::size_t begin = text.find_first_not_of(kSeparators);
  if (begin == std::string_view::npos) return text = {};
  char quote = 0;
  std::size_t end = begin;
  for (; end < text.size(); ++end) {
    const char c = text[end];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (kSeparators.find(c) != std::string_view::npos) {
      break;
    }
  }
  const std::string_view entry = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return entry;
}

std::size_t parse_table(std::string_view text, std::string_view source, OptionTable table, void* options,
                        ComplaintSink complain) noexcept {
  std::size_t complaints = 0;
  for (std::string_view entry = next_option(text); !entry.empty(); entry = next_option(text)) {
    const std::size_t equals = entry.find('=');
    const std::string_view key = entry.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : unquoted(entry.substr(equals + 1));
    const auto row = std::find_if(table.begin(), table.end(), [key](const OptionRow& r) { return r.name == key; });
    if (row == table.end()) {
      complain_unknown(key, source, table, complain);
      ++complaints;
    } else if (equals == std::string_view::npos || !parse_value(value, *row, options)) {
      complain_value(*row, value, source, complain);
      ++complaints;
    }
  }
  return complaints;
}

void write_table(int fd, OptionTable table, const void* defaults) noexcept {
  for (const OptionRow& row : table) {
    if (row.help.empty()) continue;
    FixedText line;
    line.text("  ").text(row.name).text("=");
    switch (row.kind) {
      case Kind::kFlag: line.decimal(value_of<bool>(row, defaults) ? 1 : 0); break;
      case Kind::kNumber: line.decimal(value_of<unsigned>(row, defaults)); break;
      case Kind::kStackMode: line.text(kStackModes[static_cast<unsigned>(value_of<StackMode>(row, defaults))]); break;
      case Kind::kText: line.text(value_of<OptionText>(row, defaults).view()); break;
    }
    line.text("\n        ").text(row.help).text(" (");
    describe_values(row, line);
    line.text(")\n");
    os_write_all(fd, line.view().data(), line.view().size());
  }
}

std::string_view read_start_variable(std::string_view name) noexcept {
  if (os_is_privileged()) return {};
  static constinit char environment[1 << 17] = {};
  const std::ptrdiff_t length = os_read_file("/proc/self/environ", environment, sizeof(environment));
  if (length < 0) {
    FixedText line;
    line.text("arenascan: /proc/self/environ cannot be read; ").text(name).text(" are not heeded");
    write_line(line.view());
  }
  std::string_view rest(environment, length < 0 ? 0 : static_cast<std::size_t>(length));
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find('\0'));
    if (entry.starts_with(name) && entry.substr(name.size()).starts_with('=')) {
      return entry.substr(name.size() + 1, kLongestVariable);
    }
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
  }
  return {};
}

}  // namespace arenascan::alloc
