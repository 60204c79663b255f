#include "scan/verdict.h"

namespace arenascan::scan {

const char* to_text(Incomplete reason) noexcept {
  switch (reason) {
    case Incomplete::kNo: return "complete";
    case Incomplete::kNoMemory: return "the scanner's own memory ran out";
    case Incomplete::kThreadNotStopped: return "a thread did not stop in time";
    case Incomplete::kSignalTaken: return "the program has taken over the signal that stops threads";
    case Incomplete::kMapsUnreadable: return "/proc/self could not be read";
  }
  return "unknown reason";
}

}  // namespace arenascan::scan
