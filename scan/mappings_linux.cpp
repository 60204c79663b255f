#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "alloc/os.h"
#include "scan/mappings.h"

namespace arenascan::scan {
namespace {

constexpr const char* kPath = "/proc/thread-self/maps";
constexpr std::size_t kFirstTextBytes = std::size_t{1} << 16;
constexpr std::size_t kLargestTextBytes = std::size_t{1} << 28;

// The interface of Linux 6.11 (include/uapi/linux/fs.h), which Debian 12's headers do not have.
struct Question {
  std::uint64_t bytes, flags, address;                   // asked
  std::uint64_t begin, end, traits, page_bytes, offset;  // told
  std::uint64_t inode;
  std::uint32_t major, minor;
  std::uint32_t name_bytes, build_id_bytes;  // room for them; none: not wanted
  std::uint64_t name, build_id;
};
constexpr unsigned long kAsk = _IOWR('f', 17, Question);
constexpr std::uint64_t kOrNext = 0x10;  // flags: what holds the address, or else comes next
constexpr std::uint64_t kOnlyWritable = 2;
constexpr std::uint64_t kReadable = 1;  // traits
constexpr std::uint64_t kWritable = 2;
constexpr std::uint64_t kShared = 8;

bool is_special_path(std::string_view path) noexcept {
  return path.starts_with("[v") || path.starts_with("[uprobes") ||
         (path.starts_with("/dev/") && !path.starts_with("/dev/zero") && !path.starts_with("/dev/shm/"));
}

// What has no path, or one too long to be any of those, is not special; nor what is not there any more.
MappingTable::Answer has_special_path(int file, const Mapping& mapping) noexcept {
  using Answer = MappingTable::Answer;
  std::array<char, 256> name{};
  Question question{};
  question.bytes = sizeof(question);
  question.address = mapping.range.begin;
  question.name = reinterpret_cast<std::uint64_t>(name.data());
  question.name_bytes = name.size();
  if (ioctl(file, kAsk, &question) != 0)
    return errno == ENAMETOOLONG || errno == ENOENT ? Answer::kNo : Answer::kUntold;
  return question.name_bytes != 0 && is_special_path(name.data()) ? Answer::kYes : Answer::kNo;
}

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
  mapping.special = is_special_path(path);
  return true;
}

bool MappingTable::read(std::span<const AddressRange> without, std::span<const AddressRange> sealed) noexcept {
  if (may_ask_ && mappings_.size() < kMany && ask(without, sealed)) return true;
  return read_as_text();
}

bool MappingTable::ask(std::span<const AddressRange> without, std::span<const AddressRange> sealed) noexcept {
  const alloc::ErrnoKeeper keeper;
  const int file = open(kPath, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  mappings_.clear();
  known_.length = 0;
  bool all = true;
  auto hole = without.begin();
  auto seal = sealed.begin();
  for (std::uintptr_t at = 0;;) {
    while (hole != without.end() && hole->end <= at) ++hole;
    if (hole != without.end() && hole->begin <= at) at = hole->end;
    while (seal != sealed.end() && seal->end <= at) ++seal;
    const bool is_sealed = seal != sealed.end() && seal->begin <= at;
    Question question{};
    question.bytes = sizeof(question);
    question.flags = is_sealed ? kOrNext | kOnlyWritable : kOrNext;
    question.address = at;
    const bool is_answered = ioctl(file, kAsk, &question) == 0;
    if (is_sealed && (is_answered ? question.begin > seal->end : errno == ENOENT)) {
      at = seal->end;  // what cannot be written behind it has been left out as well
      continue;
    }
    if (!is_answered) {
      all = errno == ENOENT;
      may_ask_ = all || errno != ENOTTY;
      break;
    }
    at = question.end;
    while (hole != without.end() && hole->end <= question.begin) ++hole;
    if (hole != without.end() && hole->begin <= question.begin && question.end <= hole->end) continue;
    Mapping mapping;
    mapping.range = {question.begin, question.end};
    mapping.readable = (question.traits & kReadable) != 0;
    mapping.writable = (question.traits & kWritable) != 0;
    mapping.shared = (question.traits & kShared) != 0;
    mapping.file = question.inode != 0;
    mapping.is_named = !mapping.file;
    const bool may_be_special = !mapping.file && mapping.readable && !mapping.writable;  // others are not read
    const Answer special = may_be_special ? has_special_path(file, mapping) : Answer::kNo;
    mapping.special = special == Answer::kYes;
    all = special != Answer::kUntold && mappings_.push_back(mapping);
    if (!all) break;
  }
  close(file);
  return all;
}

MappingTable::Answer MappingTable::is_special(const Mapping& mapping) noexcept {
  if (mapping.is_named) return mapping.special ? Answer::kYes : Answer::kNo;
  const alloc::ErrnoKeeper keeper;
  const int file = open(kPath, O_RDONLY | O_CLOEXEC);
  if (file < 0) return Answer::kUntold;
  const Answer special = has_special_path(file, mapping);
  close(file);
  return special;
}

bool MappingTable::read_as_text() noexcept {
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
    const std::ptrdiff_t length = alloc::os_read_file(kPath, text.room.begin(), text.room.size());
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
