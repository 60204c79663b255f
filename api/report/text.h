// A verdict as text, in LeakSanitizer's form, so that whatever reads its reports reads these.
//
//   Direct leak of 21 byte(s) in 3 object(s) allocated from:
//       #0 0x55db9e0cef42 in malloc (MODULE+0x30f42)
//       #1 0x55db9e0d16ef in leak() FILE:LINE:COL
//
// Addresses are those of the call (return address less one); an inlined function has a line of its own with the address
// of the one it is inlined in. After the leaks come the changed orphans, in the same form, which are not counted.
//
// Threads: one at a time. Called by: last_report.
#pragma once

#include "alloc/stack_table.h"
#include "scan/verdict.h"

namespace arenascan::api::report {

// Writes the report to `fd`. Returns 0 or the errno value of the first failed write.
int write_text_report(int fd, const scan::Verdict& verdict, const alloc::StackTable& stacks) noexcept;

}  // namespace arenascan::api::report
