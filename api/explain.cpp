#include "api/explain.h"

#include <cerrno>
#include <cstdint>

#include "alloc/os.h"
#include "api/process.h"
#include "api/report/object.h"

namespace arenascan::api {

int describe_object(const void* p, int fd) noexcept {
  const alloc::ErrnoKeeper keeper;
  if (t_thread.scanning) return EBUSY;
  const auto word = reinterpret_cast<std::uintptr_t>(p);
  scan::Description known;
  if (!process_scanner().describe(word, known)) return EINVAL;
  return report::write_description(fd, word, known, process().tables.stacks);
}

int explain_object(const void* p, int fd) noexcept {
  const alloc::ErrnoKeeper keeper;
  if (t_thread.scanning) return EBUSY;
  scan::Retainers found;
  t_thread.scanning = true;
  process_scanner().find_retainers(scan_settings(), reinterpret_cast<std::uintptr_t>(p), found);
  t_thread.scanning = false;
  const bool is_told = found.incomplete == scan::Incomplete::kNo;
  if (is_told && found.object.address == 0) return EINVAL;
  const int error = report::write_retainers(fd, found, process().tables.stacks);
  return error != 0 || is_told ? error : EAGAIN;
}

}  // namespace arenascan::api
