#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

#include "alloc/os.h"
#include "scan/mappings.h"

namespace arenascan::scan {
namespace {

constexpr std::size_t kFirstTextBytes = std::size_t{1} << 16;
constexpr std::size_t kLargestTextBytes = std::size_t{1} << 28;

// A file of /proc that is closed again, with errno as it was.
class ProcFile {
 public:
  explicit ProcFile(const char* path) noexcept : saved_errno_(errno), fd_(open(path, O_RDONLY | O_CLOEXEC)) {}
  ~ProcFile() {
    if (fd_ >= 0) close(fd_);
    errno = saved_errno_;
  }
  ProcFile(const ProcFile&) = delete;
  ProcFile& operator=(const ProcFile&) = delete;

  [[nodiscard]] bool read_at(void* buffer, std::size_t bytes, std::uint64_t offset) const noexcept {
    auto* to = static_cast<char*>(buffer);
    while (bytes > 0) {
      const ssize_t got = pread(fd_, to, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      to += got;
      offset += static_cast<std::uint64_t>(got);
      bytes -= static_cast<std::size_t>(got);
    }
    return true;
  }

 private:
  int saved_errno_;
  int fd_;
};

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

bool for_each_touched_run(AddressRange range, bool file, RunVisit visit, void* argument) noexcept {
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
  constexpr std::uint64_t kFilePage = std::uint64_t{1} << 61;
  const ProcFile pagemap("/proc/thread-self/pagemap");
  std::array<std::uint64_t, 512> entries;
  const auto tell = [&](AddressRange run) {
    run = {std::max(run.begin, range.begin), std::min(run.end, range.end)};
    if (run.begin < run.end) visit(run, argument);
  };
  std::uintptr_t at = range.begin & ~(alloc::kOsPageBytes - 1);
  AddressRange run{at, at};
  while (at < range.end) {
    const std::size_t count =
        std::min(entries.size(), (range.end - at + alloc::kOsPageBytes - 1) / alloc::kOsPageBytes);
    if (!pagemap.read_at(entries.data(), count * sizeof(entries[0]), at / alloc::kOsPageBytes * sizeof(entries[0]))) {
      return false;
    }
    for (std::size_t i = 0; i < count; ++i, at += alloc::kOsPageBytes) {
      const bool touched = (entries[i] & (kPresent | kSwapped)) != 0 && !(file && (entries[i] & kFilePage) != 0);
      if (!touched) continue;
      if (run.end != at) {
        tell(run);
        run.begin = at;
      }
      run.end = at + alloc::kOsPageBytes;
    }
  }
  tell(run);
  return true;
}

}  // namespace arenascan::scan
