#include "scan/write_watch.h"

#include "scan/pagemap.h"
#include "scan/tasks.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "alloc/os.h"

namespace arenascan::scan {
namespace {

// Newer than Debian 12's headers.
constexpr std::uint64_t kAsynchronous = std::uint64_t{1} << 15;  // UFFD_FEATURE_WP_ASYNC
constexpr int kUserModeOnly = 1;                                 // UFFD_USER_MODE_ONLY

// A registered range of a new userfaultfd, or -1.
int register_range(AddressRange range) noexcept {
  const int file =
      move_out_of_the_way(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly)));
  if (file < 0) return -1;
  uffdio_api api{UFFD_API, kAsynchronous, 0};
  uffdio_register wanted{{range.begin, range.end - range.begin}, UFFDIO_REGISTER_MODE_WP, 0};
  if (ioctl(file, UFFDIO_API, &api) == 0 && ioctl(file, UFFDIO_REGISTER, &wanted) == 0) return file;
  close(file);
  return -1;
}

bool take_protection(int file, AddressRange range) noexcept {
  uffdio_writeprotect question{{range.begin, range.end - range.begin}, 0};
  return ioctl(file, UFFDIO_WRITEPROTECT, &question) == 0;
}

}  // namespace

bool WriteWatch::prepare(AddressRange heap) noexcept {
  const alloc::ErrnoKeeper keeper;
  // Asked to release a page, the kernel tells whether the registration still stands.
  if (file_ < 0 || process_ != alloc::os_process_id() ||
      !take_protection(file_, {heap.begin, heap.begin + alloc::kOsPageBytes})) {
    file_ = has_call_filter() ? -1 : register_range(heap);
    process_ = alloc::os_process_id();
  }
  return file_ >= 0;
}

void WriteWatch::release(AddressRange range) const noexcept {
  const alloc::ErrnoKeeper keeper;
  static_cast<void>(take_protection(file_, range));  // the next scan notices if it cannot be watched any more
}

void WriteWatch::fork_child() noexcept {
  const alloc::ErrnoKeeper keeper;
  if (file_ >= 0) close(file_);
  file_ = -1;
}

}  // namespace arenascan::scan
