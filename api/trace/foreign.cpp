#include "api/trace/foreign.h"

#include <algorithm>

#include "api/trace/builder.h"
#include "api/trace/text.h"

namespace arenascan::trace {
namespace {

std::uint64_t number(LineReader& lines, std::string_view word, const char* what) {
  const std::optional<std::uint64_t> value = to_number(word);
  if (!value) lines.fail(std::string(what) + " is " + quoted(word) + ", not a number");
  return *value;
}

std::uint64_t hex_number(LineReader& lines, std::string_view word, const char* what) {
  return number(lines, "0x" + std::string(word), what);
}

Trace read_memory_replay(LineReader& lines) {
  Builder trace([&lines](const std::string& what) { lines.fail(what); });
  for (std::string text; lines.next(text);) {
    Words words(text);
    std::string_view tid = words.next();
    if (tid.empty()) continue;
    if (!tid.ends_with(':')) lines.fail("a line begins with a thread and a colon, not " + quoted(tid));
    tid.remove_suffix(1);
    const std::uint16_t thread = trace.thread(number(lines, tid, "thread"));
    const std::string_view name = words.next();
    const auto next = [&](const char* what) { return number(lines, words.next(), what); };
    if (name == "thread_done") {
      trace.add(Op::kEnd, thread);
      continue;
    }
    const std::uint64_t object = next("pointer");
    if (name == "malloc") {
      trace.make(Op::kMalloc, thread, object, next("size"));
    } else if (name == "calloc") {
      const std::uint64_t count = next("count");
      trace.make(Op::kCalloc, thread, object, next("size"), count);
    } else if (name == "memalign") {
      const std::uint64_t alignment = next("alignment");
      trace.make(Op::kMemalign, thread, object, next("size"), 0, alignment);
    } else if (name == "realloc") {
      const std::uint64_t old = next("old pointer");
      trace.remake(thread, object, old, next("size"));
    } else if (name == "free") {
      trace.release(Op::kFree, thread, object);
    } else {
      lines.fail("unknown operation " + quoted(name) + "; valid: malloc calloc realloc memalign free thread_done");
    }
  }
  return trace.take();
}

Trace read_malloclab(LineReader& lines) {
  constexpr int kHeaderLines = 4;
  Builder trace([&lines](const std::string& what) { lines.fail(what); });
  std::string text;
  for (int i = 0; i < kHeaderLines && lines.next(text); ++i) number(lines, Words(text).next(), "a line of the header");
  while (lines.next(text)) {
    Words words(text);
    const std::string_view name = words.next();
    if (name.empty()) continue;
    if (name != "a" && name != "r" && name != "f") {
      lines.fail("unknown operation " + quoted(name) + "; valid: a ID SIZE, r ID SIZE, f ID");
    }
    const std::uint64_t object = number(lines, words.next(), "ID") + 1;  // they begin at 0
    if (name == "f") {
      trace.release(Op::kFree, 1, object);
      continue;
    }
    const std::uint64_t bytes = number(lines, words.next(), "SIZE");
    if (name == "a") {
      trace.make(Op::kMalloc, 1, object, bytes);
    } else {
      trace.remake(1, object, object, bytes);
    }
  }
  return trace.take();
}

// `@ PLACE` stands in front, and PLACE may hold blanks, but no ` + 0x`.
Trace read_mtrace(LineReader& lines) {
  constexpr std::string_view kMarks = "+-<>!";
  Builder trace([&lines](const std::string& what) { lines.fail(what); });
  std::uint64_t old = 0;
  for (std::string text; lines.next(text);) {
    std::string_view rest = text;
    if (rest.empty() || rest.starts_with('=')) continue;
    std::size_t at = 0;
    while (at + 3 < rest.size() && !(kMarks.find(rest[at]) != std::string_view::npos &&
                                     (at == 0 || rest[at - 1] == ' ') && rest.substr(at + 1).starts_with(" 0x"))) {
      ++at;
    }
    if (at + 3 >= rest.size()) lines.fail(quoted(text) + " has none of + - < > ! with an address behind it");
    Words words(rest.substr(at + 1));
    const std::uint64_t object = number(lines, words.next(), "pointer");
    switch (rest[at]) {
      case '+': trace.make(Op::kMalloc, 1, object, number(lines, words.next(), "size")); break;
      case '-': trace.release(Op::kFree, 1, object); break;
      case '<': old = object; break;
      case '>': trace.remake(1, object, old, number(lines, words.next(), "size")); break;
      default: break;  // ! : a realloc that failed
    }
  }
  return trace.take();
}

Trace read_heaptrack(LineReader& lines) {
  Builder trace([&lines](const std::string& what) { lines.fail(what); });
  for (std::string text; lines.next(text);) {
    Words words(text);
    const std::string_view name = words.next();
    if (name == "+") {
      const std::uint64_t bytes = hex_number(lines, words.next(), "size");
      hex_number(lines, words.next(), "trace");
      trace.make(Op::kMalloc, 1, hex_number(lines, words.next(), "pointer"), bytes);
    } else if (name == "-") {
      trace.release(Op::kFree, 1, hex_number(lines, words.next(), "pointer"));
    }
  }
  return trace.take();
}

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::string_view first_line(std::string_view text) noexcept { return text.substr(0, text.find('\n')); }

bool is_memory_replay(std::string_view text) noexcept {
  const std::size_t digits =
      static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
  return digits != 0 && text.substr(digits).starts_with(": ");
}

// A number alone on each of the first lines.
bool is_malloclab(std::string_view text) noexcept {
  for (int i = 0; i < 3; ++i) {
    const std::string_view word = Words(first_line(text)).next();
    if (word.empty() || !std::all_of(word.begin(), word.end(), is_digit)) return false;
    text.remove_prefix(std::min(text.size(), first_line(text).size() + 1));
  }
  return true;
}

}  // namespace

ForeignReader foreign_reader(std::string_view beginning) noexcept {
  if (beginning.starts_with("= Start")) return read_mtrace;
  if (beginning.starts_with("v ")) return read_heaptrack;
  if (is_memory_replay(beginning)) return read_memory_replay;
  if (is_malloclab(beginning)) return read_malloclab;
  return nullptr;
}

}  // namespace arenascan::trace
