#include "alloc/check.h"

#include <cstdlib>
#include <cstring>

#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr int kStandardError = 2;

}  // namespace

FixedText& FixedText::text(std::string_view words) noexcept {
  const std::size_t room = sizeof(buffer_) - length_;
  const std::size_t taken = words.size() < room ? words.size() : room;
  std::memcpy(buffer_ + length_, words.data(), taken);
  length_ += taken;
  return *this;
}

FixedText& FixedText::decimal(std::uint64_t value) noexcept {
  char digits[20];
  std::size_t at = sizeof(digits);
  do {
    digits[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return text({digits + at, sizeof(digits) - at});
}

FixedText& FixedText::hex(std::uint64_t value) noexcept {
  char digits[16];
  std::size_t at = sizeof(digits);
  do {
    digits[--at] = "0123456789abcdef"[value & 15];
    value >>= 4;
  } while (value != 0);
  return text("0x").text({digits + at, sizeof(digits) - at});
}

FixedText& FixedText::quoted(std::string_view words) noexcept {
  constexpr char kDigits[] = "0123456789abcdef";
  text("\"");
  for (const char& character : words.substr(0, 64)) {
    const auto code = static_cast<unsigned char>(character);
    if (code >= 0x20 && code != 0x7f) {
      text({&character, 1});
    } else {
      const char escaped[] = {'\\', 'x', kDigits[code >> 4], kDigits[code & 15]};
      text({escaped, sizeof(escaped)});
    }
  }
  return text("\"");
}

void write_line(std::string_view line) noexcept {
  FixedText whole;
  whole.text(line.substr(0, 1023)).text("\n");
  os_write_all(kStandardError, whole.view().data(), whole.view().size());
}

void fatal(std::string_view line) noexcept {
  FixedText whole;
  whole.text("arenascan: ").text(line);
  write_line(whole.view());
  std::abort();
}

void check_failed(const char* condition, const char* file, int line) noexcept {
  FixedText text;
  text.text(file).text(":").decimal(static_cast<std::uint64_t>(line)).text(": check failed: ").text(condition);
  fatal(text.view());
}

}  // namespace arenascan::alloc
