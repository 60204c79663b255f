#include "alloc/options.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "alloc/check.h"
#include "alloc/os.h"

extern "C" [[gnu::weak]] const char* arena_default_options();

namespace arenascan::alloc {
namespace {

constexpr std::string_view kVariable = "ARENASCAN_OPTIONS";
constexpr std::string_view kSeparators = ": ,\t\n";
constexpr std::size_t kMaxEnvironmentText = 16384;

constinit Options g_options{};  // written by load_options() before there are threads

constexpr std::string_view kStackModes[] = {"off", "full", "fp"};

// A row of the table with the type rubbed off. Exactly one of the four members is set.
struct Row {
  std::string_view name;
  bool Options::*flag;
  unsigned Options::*number;
  OptionText Options::*text;
  StackMode Options::*stack_mode;
  unsigned least, most;
  std::string_view help;
};

constexpr Row make_row(std::string_view name, bool Options::*field, unsigned least, unsigned most,
                       std::string_view help) {
  return {name, field, nullptr, nullptr, nullptr, least, most, help};
}
constexpr Row make_row(std::string_view name, unsigned Options::*field, unsigned least, unsigned most,
                       std::string_view help) {
  return {name, nullptr, field, nullptr, nullptr, least, most, help};
}
constexpr Row make_row(std::string_view name, OptionText Options::*field, unsigned least, unsigned most,
                       std::string_view help) {
  return {name, nullptr, nullptr, field, nullptr, least, most, help};
}
constexpr Row make_row(std::string_view name, StackMode Options::*field, unsigned least, unsigned most,
                       std::string_view help) {
  return {name, nullptr, nullptr, nullptr, field, least, most, help};
}

constexpr Row kRows[] = {
#define ARENA_OPTION(type, name, default_value, least, most, help) make_row(#name, &Options::name, least, most, help),
#include "alloc/options.def"
#undef ARENA_OPTION
};

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

bool parse_number(std::string_view value, const Row& row, unsigned& number) noexcept {
  unsigned parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc{} || end != value.data() + value.size()) return false;
  if (parsed < row.least || parsed > row.most) return false;
  number = parsed;
  return true;
}

bool parse_value(std::string_view value, const Row& row, Options& options) noexcept {
  if (row.flag != nullptr) return parse_flag(value, options.*row.flag);
  if (row.number != nullptr) return parse_number(value, row, options.*row.number);
  if (row.stack_mode != nullptr) {
    const auto* const named = std::find(std::begin(kStackModes), std::end(kStackModes), value);
    auto index = static_cast<unsigned>(named - std::begin(kStackModes));
    if (named == std::end(kStackModes) && !parse_number(value, row, index)) return false;
    options.*row.stack_mode = static_cast<StackMode>(index);
    return true;
  }
  OptionText& text = options.*row.text;
  if (value.size() >= OptionText::kCapacity) return false;
  text = OptionText{};
  std::memcpy(text.chars, value.data(), value.size());
  return true;
}

void describe_values(const Row& row, FixedText& line) noexcept {
  if (row.flag != nullptr) {
    line.text("0, 1, true, false, yes, no, on or off");
  } else if (row.stack_mode != nullptr) {
    line.text("off, full, fp, or 0, 1, 2 for these");
  } else if (row.number != nullptr) {
    line.text("a number from ").decimal(row.least).text(" to ").decimal(row.most);
  } else {
    line.text("a text of at most ").decimal(OptionText::kCapacity - 1).text(" bytes");
  }
}

// On one line, and harmless on a terminal: control characters as \xHH.
void add_quoted(FixedText& line, std::string_view text) noexcept {
  constexpr char kDigits[] = "0123456789abcdef";
  line.text("\"");
  for (const char& character : text.substr(0, 64)) {
    const auto code = static_cast<unsigned char>(character);
    if (code >= 0x20 && code != 0x7f) {
      line.text({&character, 1});
    } else {
      const char escaped[] = {'\\', 'x', kDigits[code >> 4], kDigits[code & 15]};
      line.text({escaped, sizeof(escaped)});
    }
  }
  line.text("\"");
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

void complain_unknown(std::string_view key, std::string_view source, ComplaintSink complain) noexcept {
  FixedText line;
  line.text("arenascan: ").text(source).text(": unknown option ");
  add_quoted(line, key);
  const Row& nearest = *std::min_element(std::begin(kRows), std::end(kRows), [key](const Row& a, const Row& b) {
    return edit_distance(key, a.name) < edit_distance(key, b.name);
  });
  if (edit_distance(key, nearest.name) <= 2) line.text("; did you mean \"").text(nearest.name).text("\"?");
  line.text(" valid:");
  for (const Row& row : kRows) line.text(" ").text(row.name);
  complain(line.view());
}

void complain_value(const Row& row, std::string_view value, std::string_view source, ComplaintSink complain) noexcept {
  FixedText line;
  line.text("arenascan: ").text(source).text(": option ").text(row.name).text(" is ");
  add_quoted(line, value);
  line.text("; it takes ");
  describe_values(row, line);
  complain(line.view());
}

// Cuts the next `key=value` off `text`. A value may be quoted to hold separators.
std::string_view next_entry(std::string_view& text) noexcept {
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

std::string_view unquoted(std::string_view value) noexcept {
  const bool is_quoted = value.size() >= 2 && (value[0] == '"' || value[0] == '\'') && value.back() == value[0];
  return is_quoted ? value.substr(1, value.size() - 2) : value;
}

// Copies the value of kVariable out of the environment that the process was started with. Empty when it is not set.
std::string_view read_environment(char* buffer) noexcept {
  static constinit char environment[1 << 17] = {};
  const std::ptrdiff_t length = os_read_file("/proc/self/environ", environment, sizeof(environment));
  std::string_view rest(environment, length < 0 ? 0 : static_cast<std::size_t>(length));
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find('\0'));
    if (entry.starts_with(kVariable) && entry.substr(kVariable.size()).starts_with('=')) {
      const std::string_view value = entry.substr(kVariable.size() + 1, kMaxEnvironmentText);
      std::memcpy(buffer, value.data(), value.size());
      return {buffer, value.size()};
    }
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
  }
  return {};
}

}  // namespace

std::size_t parse_options(std::string_view text, std::string_view source, Options& options,
                          ComplaintSink complain) noexcept {
  std::size_t complaints = 0;
  for (std::string_view entry = next_entry(text); !entry.empty(); entry = next_entry(text)) {
    const std::size_t equals = entry.find('=');
    const std::string_view key = entry.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : unquoted(entry.substr(equals + 1));
    const Row* const row =
        std::find_if(std::begin(kRows), std::end(kRows), [key](const Row& r) { return r.name == key; });
    if (row == std::end(kRows)) {
      complain_unknown(key, source, complain);
      ++complaints;
    } else if (equals == std::string_view::npos || !parse_value(value, *row, options)) {
      complain_value(*row, value, source, complain);
      ++complaints;
    }
  }
  return complaints;
}

void write_option_help(int fd) noexcept {
  const Options defaults;
  for (const Row& row : kRows) {
    FixedText line;
    line.text("  ").text(row.name).text("=");
    if (row.flag != nullptr) line.decimal(defaults.*row.flag ? 1 : 0);
    if (row.number != nullptr) line.decimal(defaults.*row.number);
    if (row.stack_mode != nullptr) line.text(kStackModes[static_cast<unsigned>(defaults.*row.stack_mode)]);
    line.text("\n        ").text(row.help).text(" (");
    describe_values(row, line);
    line.text(")\n");
    os_write_all(fd, line.view().data(), line.view().size());
  }
}

void load_options() noexcept {
  if (arena_default_options != nullptr) {
    if (const char* const text = arena_default_options()) {
      parse_options(text, "arena_default_options", g_options, write_line);
    }
  }
  static constinit char buffer[kMaxEnvironmentText] = {};
  parse_options(read_environment(buffer), kVariable, g_options, write_line);
  if (g_options.help) {
    constexpr int kStandardError = 2;
    write_line("arenascan: options, for ARENASCAN_OPTIONS=\"key=value:key=value\" or arena_default_options():");
    write_option_help(kStandardError);
  }
}

const Options& options() noexcept { return g_options; }

}  // namespace arenascan::alloc
