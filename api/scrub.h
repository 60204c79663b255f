// Clearing the dead part of the calling thread's stack.
//
// Threads: any. Called by: arena.
#pragma once

namespace arenascan::api {

// Writes zeros to what lies on the stack below the caller's frame, as far down as it was ever used. Nothing where the
// thread runs on another stack than its own.
void scrub_stack() noexcept;

}  // namespace arenascan::api
