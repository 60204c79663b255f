// Whether the process ends because main has returned.
//
// Threads: the one that exits. Called by: lifecycle.
#pragma once

#include <cstdint>

namespace arenascan::api {

// Called while exit handlers run: where the calling thread's stack begins to be alive, when main has returned, for then
// nothing on it is but what the kernel put there. What main and its callees have left would shine through holes in the
// frames of the exit handlers. 0: the program has called exit, and whoever did may hold something; or nobody knows.
std::uintptr_t live_stack_after_main() noexcept;

}  // namespace arenascan::api
