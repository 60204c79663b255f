// A verdict as text, in LeakSanitizer's form, so that whatever reads its reports reads these.
//
//   Direct leak of 21 byte(s) in 3 object(s) allocated from:
//       ...                                               (frames.h)
//
// After the leaks come the changed orphans, in the same form, which are not counted.
//
// Threads: one at a time. Called by: last_report.
#pragma once

#include "alloc/stack_table.h"
#include "scan/verdict.h"

namespace arenascan::api::report {

// Writes the report to `fd`. Returns 0 or the errno value of the first failed write.
int write_text_report(int fd, const scan::Verdict& verdict, const alloc::StackTable& stacks) noexcept;

}  // namespace arenascan::api::report
