#include <algorithm>
#include <charconv>
#include <utility>

#include "alloc/os.h"
#include "scan/mappings.h"

namespace arenascan::scan {
namespace {

constexpr std::size_t kFirstTextBytes = std::size_t{1} << 16;
constexpr std::size_t kLargestTextBytes = std::size_t{1} << 28;

bool parse_hex(std::string_view& text, char terminator, std::uintptr_t& value) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end == text.data() + text.size() || *end != terminator) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

std::string_view skip_field(std::string_view text) noexcept {
  text.remove_prefix(std::min(text.size(), text.find(' ')));
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ')));
  return text;
}

}  // namespace

bool parse_mapping(std::string_view line, Mapping& mapping) noexcept {
  mapping = {};
  if (!parse_hex(line, '-', mapping.range.begin) || !parse_hex(line, ' ', mapping.range.end)) return false;
  if (line.size() < 4) return false;
  mapping.readable = line[0] == 'r';
  mapping.writable = line[1] == 'w';
  mapping.shared = line[3] == 's';
  const std::string_view inode = skip_field(skip_field(skip_field(line)));
  const std::string_view path = skip_field(inode);
  mapping.file = !inode.starts_with("0 ") && inode != "0" && !path.empty();
  mapping.special = path.starts_with("[v") || path.starts_with("[uprobes") ||
                    (path.starts_with("/dev/") && !path.starts_with("/dev/zero") && !path.starts_with("/dev/shm/"));
  return true;
}

bool MappingTable::read() noexcept {
  if (read_text(now_)) {
    if (now_.view() == known_.view()) return true;
    std::swap(now_, known_);
    mappings_.clear();
    if (parse()) return true;
  }
  mappings_.clear();
  known_.length = 0;
  return false;
}

bool MappingTable::read_text(Text& text) noexcept {
  for (std::size_t capacity = kFirstTextBytes; capacity <= kLargestTextBytes; capacity *= 4) {
    if (text.room.size() < capacity && !text.room.resize(capacity)) return false;
    const std::ptrdiff_t length = alloc::os_read_file("/proc/thread-self/maps", text.room.begin(), text.room.size());
    if (length <= 0) return false;
    text.length = static_cast<std::size_t>(length);
    if (text.length < text.room.size()) return true;
  }
  return false;
}

bool MappingTable::parse() noexcept {
  for (std::string_view rest = known_.view(); !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    Mapping mapping;
    if (!parse_mapping(rest.substr(0, end), mapping) || !mappings_.push_back(mapping)) return false;
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  return true;
}

}  // namespace arenascan::scan
