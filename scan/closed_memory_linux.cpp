#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string_view>

#include "alloc/os.h"
#include "scan/closed_memory.h"

namespace arenascan::scan {
namespace {

bool has_swapped() noexcept {
  constexpr std::string_view kNothing = "\nVmSwap:\t       0 kB\n";
  std::array<char, 4096> text;
  const std::ptrdiff_t length = alloc::os_read_file("/proc/thread-self/status", text.data(), text.size());
  return length < 0 ||
         std::string_view(text.data(), static_cast<std::size_t>(length)).find(kNothing) == std::string_view::npos;
}

}  // namespace

Reading for_each_closed_piece(AddressRange range, ClosedVisit visit, void* argument) noexcept {
  constexpr std::size_t kOverlapBytes = 16;  // a pointer at no whole word may lie across
  std::array<std::uintptr_t, 512> copy;      // on the scanner's or a helper's stack, which is no root
  const alloc::ErrnoKeeper keeper;
  const int file = open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
  if (file < 0) return Reading::kDenied;
  Reading reading = Reading::kWhole;
  for (std::uintptr_t at = range.begin; at < range.end;) {
    const std::size_t wanted = std::min(range.end - at, sizeof(copy));
    ssize_t got = 0;
    do {
      got = pread(file, copy.data(), wanted, static_cast<off_t>(at));
    } while (got < 0 && errno == EINTR);
    if (got != static_cast<ssize_t>(wanted)) {
      reading = got >= 0 || errno == EIO ? Reading::kCutShort : Reading::kDenied;
      break;
    }
    const auto begin = reinterpret_cast<std::uintptr_t>(copy.data());
    visit({begin, begin + wanted}, at, argument);
    at += at + wanted == range.end ? wanted : wanted - kOverlapBytes;
  }
  close(file);
  return reading;
}

bool is_untouched(AddressRange range) noexcept {
  constexpr std::uintptr_t kMask = alloc::kOsPageBytes - 1;
  std::array<unsigned char, 4096> resident;
  const alloc::ErrnoKeeper keeper;
  const std::uintptr_t end = (range.end + kMask) & ~kMask;
  for (std::uintptr_t at = range.begin & ~kMask; at < end;) {
    const std::size_t pages = std::min((end - at) / alloc::kOsPageBytes, resident.size());
    if (mincore(reinterpret_cast<void*>(at), pages * alloc::kOsPageBytes, resident.data()) != 0) return false;
    const std::span<const unsigned char> told(resident.data(), pages);
    if (std::any_of(told.begin(), told.end(), [](unsigned char page) { return (page & 1) != 0; })) return false;
    at += pages * alloc::kOsPageBytes;
  }
  return !has_swapped();
}

}  // namespace arenascan::scan
