#include "api/control/request.h"

#include <charconv>

namespace arenascan::api::control {
namespace {

constexpr std::string_view kCommands =
    "scan, scan=on, scan=off, scan=SECONDS, stack=on, stack=off, clear, off, dump=ADDRESS, report, report=text, stats";

bool refuse(alloc::FixedText& problem, std::string_view what, std::string_view found, std::string_view right) noexcept {
  problem.text(what).text(" ").quoted(found).text("; ").text(right);
  return false;
}

// All of the text has to be a number.
bool parse_number(std::string_view digits, int base, std::uint64_t most, std::uint64_t& number) noexcept {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  return error == std::errc() && end == digits.data() + digits.size() && number <= most;
}

bool parse_address(std::string_view text, std::uint64_t& address) noexcept {
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  return parse_number(is_hex ? text.substr(2) : text, is_hex ? 16 : 10, UINT64_MAX, address);
}

struct Word {
  std::string_view line;
  Request request;
};
constexpr Word kWords[] = {
    {"scan", {Command::kScan}},         {"scan=on", {Command::kScanOn}},     {"scan=off", {Command::kScanOff}},
    {"stack=on", {Command::kStack, 1}}, {"stack=off", {Command::kStack, 0}}, {"clear", {Command::kClear}},
    {"off", {Command::kOff}},           {"report", {Command::kReport}},      {"report=text", {Command::kReport}},
    {"stats", {Command::kStats}},
};

}  // namespace

bool parse_request(std::string_view line, Request& request, alloc::FixedText& problem) noexcept {
  for (const Word& word : kWords) {
    if (word.line != line) continue;
    request = word.request;
    return true;
  }
  const std::size_t equals = line.find('=');
  const std::string_view key = line.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view() : line.substr(equals + 1);
  std::uint64_t number = 0;
  if (equals == std::string_view::npos) return refuse(problem, "unknown command", line, kCommands);
  if (key == "scan") {
    if (!parse_number(value, 10, kMostSeconds, number)) {
      return refuse(problem, "bad value of scan:", value, "on, off, or seconds between scans, 0 to 31536000");
    }
    request = {Command::kScanEvery, number};
    return true;
  }
  if (key == "dump") {
    if (!parse_address(value, number)) {
      return refuse(problem, "bad value of dump:", value, "an address, 0x and hexadecimal digits or decimal ones");
    }
    request = {Command::kDump, ~number};
    return true;
  }
  if (key == "stack") return refuse(problem, "bad value of stack:", value, "on or off");
  if (key == "report") return refuse(problem, "bad value of report:", value, "the formats are: text");
  return refuse(problem, "unknown command", line, kCommands);
}

}  // namespace arenascan::api::control
