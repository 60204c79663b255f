// Scanning the process, with its suppressions, and keeping the verdict for a report.
//
// Threads: any, concurrently; scans run one after the other (Scanner), reports wait for a verdict to be put in place.
// A fork handler holds lock() so that the child finds the verdict whole.
#pragma once

#include "api/report/suppressions.h"
#include "api/report/text.h"
#include "scan/scanner.h"

namespace arenascan::api {

using VerdictVisit = void (*)(const scan::Verdict& verdict, void* argument);

// Scans the process's heap with the calling thread's registers and stack as roots from here on, keeps the verdict, and
// shows it to `visit`.
void scan_process(const scan::ScanSettings& settings, VerdictVisit visit, void* argument) noexcept;

template <typename Visit>
void scan_process(const scan::ScanSettings& settings, Visit&& visit) noexcept {
  scan_process(
      settings, [](const scan::Verdict& verdict, void* argument) { (*static_cast<Visit*>(argument))(verdict); },
      &visit);
}

// Writes the last verdict as text. Returns 0 or an errno value: ENOENT when there was no scan yet.
int report_last_scan(int fd, const report::TextSettings& settings = {}) noexcept;

// Shows the last verdict to `visit`. False: there was no scan yet.
bool with_last_verdict(VerdictVisit visit, void* argument) noexcept;

template <typename Visit>
bool with_last_verdict(Visit&& visit) noexcept {
  return with_last_verdict([](const scan::Verdict& verdict,
                              void* argument) { (*static_cast<std::remove_reference_t<Visit>*>(argument))(verdict); },
                           &visit);
}

// What the last scan has found is never a leak from now on. Returns 0 or an errno value: EBUSY from a progress
// callback.
int clear_leaks() noexcept;

// Added to when the process begins.
report::Suppressions& process_suppressions() noexcept;

void lock_last_report() noexcept;
void unlock_last_report() noexcept;

}  // namespace arenascan::api
