// What the library's two faces do differently: arenascan's own (own_face.cpp) and LeakSanitizer's (lsan/). A library is
// made of the allocator, the scanner, what else is in api/, and one of them.
//
// Called by: process, lifecycle, exit_scan.
#pragma once

#include "alloc/options.h"

namespace arenascan::api::face {

// Sets the face's defaults, and what it reads from sources of its own; ARENASCAN_OPTIONS comes later and wins. In the
// set-up of the heap, before other threads exist: it must not allocate.
void load_options(alloc::Options& options) noexcept;

// When the constructors begin.
void begin() noexcept;

// Whether the process is to be scanned now that it exits.
bool scans_at_exit() noexcept;

// Whether a report of no leaks has a line that says so.
extern const bool kTellsNoLeaks;

}  // namespace arenascan::api::face
