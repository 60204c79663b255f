#include "api/trace/text.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace arenascan::trace {
namespace {

Line complain(std::string what) { return {std::nullopt, std::move(what)}; }

std::string usage(const Shape& shape) {
  std::string text = "THREAD " + std::string(shape.name);
  for (const Field& field : shape.fields) {
    if (field.place != Place::kNone) text.append(" ").append(field.label);
  }
  return text;
}

std::string all_names() {
  std::string names;
  for (const Shape& shape : kShapes) names.append(" ").append(shape.name);
  return names;
}

}  // namespace

std::string_view Words::next() noexcept {
  constexpr std::string_view kBlanks = " \t\r";
  const std::size_t begin = std::min(rest_.find_first_not_of(kBlanks), rest_.size());
  const std::size_t end = std::min(rest_.find_first_of(kBlanks, begin), rest_.size());
  const std::string_view word = rest_.substr(begin, end - begin);
  rest_.remove_prefix(end);
  return word;
}

std::optional<std::uint64_t> to_number(std::string_view word) noexcept {
  const bool is_hex = word.starts_with("0x") || word.starts_with("0X");
  if (is_hex) word.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, is_hex ? 16 : 10);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 40;
  std::string shown = "\"";
  for (const char c : text.substr(0, kMost)) shown.push_back(c >= ' ' && c <= '~' ? c : '?');
  return shown + (text.size() > kMost ? "...\"" : "\"");
}

std::string to_text(const Record& record) {
  const Shape& shape = shape_of(record.op);
  std::string line = std::to_string(record.thread) + " " + std::string(shape.name);
  for (const Field& field : shape.fields) {
    if (field.place != Place::kNone) line.append(" ").append(std::to_string(get(record, field.place)));
  }
  return line;
}

Line parse_line(std::string_view line) {
  Words words(line);
  const std::string_view thread_word = words.next();
  if (thread_word.empty() || thread_word.starts_with('#')) return {};
  const std::optional<std::uint64_t> thread = to_number(thread_word);
  if (!thread || *thread > std::numeric_limits<std::uint16_t>::max()) {
    return complain(quoted(thread_word) + " is no thread; a line begins with a number from 0 to 65535");
  }
  const std::string_view name = words.next();
  const auto* const shape =
      std::find_if(kShapes.begin(), kShapes.end(), [&](const Shape& s) { return s.name == name; });
  if (shape == kShapes.end()) return complain("unknown operation " + quoted(name) + "; valid:" + all_names());

  Record record;
  record.thread = static_cast<std::uint16_t>(*thread);
  record.op = static_cast<Op>(shape - kShapes.begin());
  for (const Field& field : shape->fields) {
    if (field.place == Place::kNone) continue;
    const std::string_view word = words.next();
    const std::optional<std::uint64_t> value = to_number(word);
    if (value && set(record, field.place, *value)) continue;
    const char* const wanted = field.place == Place::kAlignment ? "a power of two"
                               : field.place == Place::kValue   ? "a number"
                                                                : "a number below 2^32";
    return complain(std::string(field.label) + " is " + quoted(word) + ", not " + wanted +
                    "; right is: " + usage(*shape));
  }
  if (const std::string_view more = words.next(); !more.empty()) {
    return complain(quoted(more) + " is too much; right is: " + usage(*shape));
  }
  return {record, {}};
}

}  // namespace arenascan::trace
