#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "alloc/os.h"
#include "scan/closed_memory.h"

namespace arenascan::scan {

bool for_each_closed_piece(AddressRange range, ClosedVisit visit, void* argument) noexcept {
  constexpr std::size_t kOverlapBytes = 16;  // a pointer at no whole word may lie across
  std::array<std::uintptr_t, 512> copy;      // on the scanner's or a helper's stack, which is no root
  const alloc::ErrnoKeeper keeper;
  const int file = open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  bool is_read = true;
  for (std::uintptr_t at = range.begin; at < range.end && is_read;) {
    const std::size_t wanted = std::min(range.end - at, sizeof(copy));
    ssize_t got = 0;
    do {
      got = pread(file, copy.data(), wanted, static_cast<off_t>(at));
    } while (got < 0 && errno == EINTR);
    is_read = got == static_cast<ssize_t>(wanted);
    if (!is_read) break;
    const auto begin = reinterpret_cast<std::uintptr_t>(copy.data());
    visit({begin, begin + wanted}, at, argument);
    at += at + wanted == range.end ? wanted : wanted - kOverlapBytes;
  }
  close(file);
  return is_read;
}

}  // namespace arenascan::scan
