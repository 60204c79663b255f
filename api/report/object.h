// What is known of one object as text: all about it, and why it is reached.
//
//   Object 0x7de1a0001220 of 100 byte(s) in a slot of 112, asked for by 0x7de1a0001230, 16 byte(s) behind its beginning
//     allocated 2 scans or marks ago, by malloc; annotations: not scanned
//     last scan: a leak; checksum 0x1f0e...
//     allocated from:
//       #0 ...
//
//   Object 0x7de1a0001220 of 100 byte(s) is reached from
//     global data g_table (MODULE+0x4040): at 0x55db9e0d4040 lies a pointer to
//   0x7de1a0001000, 48 byte(s), allocated from:
//       #0 ...
//     which holds, 24 byte(s) behind its beginning, a pointer to
//   0x7de1a0001220, 100 byte(s), allocated from:
//       #0 ...
//
// Threads: one at a time. Called by: explain.
#pragma once

#include <cstdint>

#include "alloc/stack_table.h"
#include "scan/scanner.h"

namespace arenascan::api::report {

// Both return 0 or the errno value of the first failed write.
int write_description(int fd, std::uintptr_t asked, const scan::Description& known,
                      const alloc::StackTable& stacks) noexcept;
int write_retainers(int fd, const scan::Retainers& found, const alloc::StackTable& stacks) noexcept;

}  // namespace arenascan::api::report
