// The scan when the process exits, and where reports go.
//
// The scan is made while everything is still in place; the report is registered with the C library, which runs handlers
// that are registered during exit after all destructors. So no other destructor is cut off, and the process then leaves
// through the C library once more, with the option's exit code: buffered output is not lost, and nobody waits for a
// stream that another thread reads.
//
// Threads: the one that exits; open_report() any. Called by: lifecycle, the faces.
#pragma once

namespace arenascan::api {

void scan_at_exit() noexcept;

// A descriptor for a report: where option log_path says, or standard error.
int open_report() noexcept;
void close_report(int fd) noexcept;
// The file of option log_path; -1: there is none, or it cannot be written.
int open_log() noexcept;

}  // namespace arenascan::api
