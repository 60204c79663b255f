#include <algorithm>
#include <charconv>
#include <memory>

#include "alloc/os.h"
#include "scan/mappings.h"

namespace arenascan::scan {
namespace {

constexpr std::size_t kFirstTextBytes = std::size_t{1} << 16;
constexpr std::size_t kLargestTextBytes = std::size_t{1} << 28;

struct MetaFree {
  void operator()(char* block) const noexcept { alloc::meta_free(block); }
};
using MetaText = std::unique_ptr<char, MetaFree>;

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

bool read_mappings(MappingList& mappings) noexcept {
  for (std::size_t capacity = kFirstTextBytes; capacity <= kLargestTextBytes; capacity *= 4) {
    const MetaText text(static_cast<char*>(alloc::meta_allocate(capacity)));
    if (text == nullptr) return false;
    const std::ptrdiff_t length = alloc::os_read_file("/proc/thread-self/maps", text.get(), capacity);
    if (length <= 0) return false;
    if (static_cast<std::size_t>(length) == capacity) continue;
    mappings.clear();
    for (std::string_view rest(text.get(), static_cast<std::size_t>(length)); !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      Mapping mapping;
      if (!parse_mapping(rest.substr(0, end), mapping) || !mappings.push_back(mapping)) return false;
      rest.remove_prefix(std::min(rest.size(), end + 1));
    }
    return true;
  }
  return false;
}

}  // namespace arenascan::scan
