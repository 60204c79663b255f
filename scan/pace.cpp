#include "scan/pace.h"

#include "alloc/os.h"

namespace arenascan::scan {

using alloc::os_monotonic_ns;

Pace::Pace(const PaceSettings& settings) noexcept
    : settings_(settings), began_ns_(os_monotonic_ns()), rested_ns_(began_ns_) {}

bool Pace::go_on(Phase phase, Count reached) noexcept {
  const std::uint64_t now = os_monotonic_ns();
  if (settings_.go_on != nullptr && !settings_.go_on({phase, reached, now - began_ns_}, settings_.argument)) {
    return false;
  }
  if (settings_.processor_percent < 100) {
    const std::uint64_t worked = now - rested_ns_;
    alloc::os_sleep_ns(worked * (100 - settings_.processor_percent) / settings_.processor_percent);
  }
  rested_ns_ = os_monotonic_ns();
  return true;
}

}  // namespace arenascan::scan
