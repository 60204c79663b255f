#include "scan/verdict.h"

namespace arenascan::scan {

const char* to_text(Incomplete reason) noexcept {
  switch (reason) {
    case Incomplete::kNo: return "complete";
    case Incomplete::kNoMemory: return "the scanner's own memory ran out";
    case Incomplete::kThreadNotStopped: return "a thread did not stop in time";
    case Incomplete::kSignalTaken: return "the program has taken over the signal that stops threads";
    case Incomplete::kMapsUnreadable: return "/proc/self could not be read";
    case Incomplete::kCancelled: return "the progress callback cancelled the scan";
    case Incomplete::kClosedMemory: return "memory that the program has made inaccessible could not be read";
    case Incomplete::kWatchLost: return "the program closed the file by which writes are watched";
  }
  return "unknown reason";
}

const char* to_text(Way way) noexcept {
  switch (way) {
    case Way::kConcurrent: return "concurrent";
    case Way::kStoppedAlone: return "stopped: there is no other thread";
    case Way::kStoppedSmall: return "stopped: the heap is small";
    case Way::kStoppedByOption: return "stopped: asked for";
    case Way::kStoppedForked: return "stopped: forked from a process with several threads";
    case Way::kStoppedNoWatch:
      return "stopped: the system does not let writes be watched (userfaultfd, Linux 6.7, no seccomp filter)";
  }
  return "unknown way";
}

}  // namespace arenascan::scan
