// The threads of this process, whoever made them, as the kernel tells them (/proc/self/task).
//
// Threads: any. None of them allocates. Called by: tracer, world, write_watch.
#pragma once

#include <type_traits>

namespace arenascan::scan {

// Calls visit(thread id, argument) for each of them until it returns false. False when they cannot be listed.
bool for_each_task(bool (*visit)(int thread_id, void* argument), void* argument) noexcept;

template <typename Visit>
bool for_each_task(Visit&& visit) noexcept {
  using Function = std::remove_reference_t<Visit>;
  return for_each_task([](int thread_id, void* function) { return (*static_cast<Function*>(function))(thread_id); },
                       &visit);
}

// Whether it is known that the thread will never run again: it is gone, or a zombie (a main thread that left early).
bool has_ended(int thread_id) noexcept;

// Whether it is known that the thread blocks a signal; and whether one was sent to it that it has not taken yet.
bool blocks_signal(int thread_id, int signal) noexcept;
bool has_pending(int thread_id, int signal) noexcept;

// Whether the calling thread's system calls are filtered. A filter that does not know a call may answer with an error,
// or kill the process; so what is out of the ordinary is not asked of the kernel then, nor when nobody knows.
bool has_call_filter() noexcept;

}  // namespace arenascan::scan
