// A verdict as text, in LeakSanitizer's form, so that whatever reads its reports reads these.
//
//   Direct leak of 21 byte(s) in 3 object(s) allocated from:
//       ...                                               (frames.h)
//
// After the leaks come the changed orphans, in the same form, which are not counted, and the suppressions that were
// used.
//
// Threads: one at a time. Called by: last_report.
#pragma once

#include "alloc/stack_table.h"
#include "api/report/suppressions.h"
#include "scan/verdict.h"

namespace arenascan::api::report {

struct TextSettings {
  bool tells_no_leaks = true;  // a line says so when there is none
};

// Writes the report to `fd`. Returns 0 or the errno value of the first failed write.
int write_text_report(int fd, const scan::Verdict& verdict, const alloc::StackTable& stacks, Suppressions& suppressions,
                      const TextSettings& settings) noexcept;

// Whether there is anything to print but that there are no leaks: leaks, a scan that is not whole, or suppressions that
// the options want listed.
bool has_text(const scan::Verdict& verdict, Suppressions& suppressions) noexcept;

}  // namespace arenascan::api::report
