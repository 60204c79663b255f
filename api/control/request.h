// What somebody outside asks of the process: kmemleak's commands, a line each.
//
//     scan            scan now
//     scan=on, off    whether scans are made without being asked for
//     scan=SECONDS    ... and how long after each other; 0: off
//     stack=on, off   whether the stacks of threads are roots of these scans
//     clear           what is leaked now is no leak any more
//     off             nothing is scanned any more, not at exit either, and nobody listens
//     dump=ADDRESS    all about the object there
//     report          the last scan's, or report=FORMAT
//     stats           figures
//
// The answer is `ok LENGTH`, a newline and so many bytes; or `error`, a space, what is wrong and a newline. One request
// a connection, to the socket PID in the directory kDirectory + UID, of the user that the process had when it began to
// listen.
//
// Threads: any. Called by: conversation, listener, control; the command's ctl and list.
#pragma once

#include <cstdint>
#include <string_view>

#include "alloc/check.h"

namespace arenascan::api::control {

enum class Command : std::uint8_t {
  kScan,
  kScanOn,
  kScanOff,
  kScanEvery,
  kStack,
  kClear,
  kOff,
  kDump,
  kReport,
  kStats
};

struct Request {
  Command command = Command::kStats;
  // kScanEvery: seconds; kStack: 0 or 1; kDump: the complement of the address, for a request must not keep an object
  // alive.
  std::uint64_t value = 0;
};

inline constexpr std::string_view kDirectory = "/tmp/arenascan-";
inline constexpr std::size_t kLongestRequest = 120;            // bytes, without the newline
inline constexpr std::uint64_t kMostSeconds = 365ULL * 86400;  // between scans

// Reads a line without its newline. False: `problem` gets one line that says what is wrong and what would be right.
bool parse_request(std::string_view line, Request& request, alloc::FixedText& problem) noexcept;

}  // namespace arenascan::api::control
