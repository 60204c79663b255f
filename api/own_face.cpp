// arenascan's own face: the options are those of the process's table, and a program with suppressions that cannot be
// read runs without them.
#include "alloc/check.h"
#include "api/face.h"
#include "api/last_report.h"

namespace arenascan::api {

void face::load_options(alloc::Options&) noexcept {}

void face::begin() noexcept {
  const char* const path = alloc::options().suppressions.chars;
  if (*path != 0) process_suppressions().list().add_file(path, alloc::write_line);
}

bool face::scans_at_exit() noexcept { return alloc::options().at_exit; }

const bool face::kTellsNoLeaks = true;

}  // namespace arenascan::api
