// The library's own thread, with the option control=1: it listens, answers (control.h), and scans when that is due.
//
// It is an ordinary detached thread of the C library's, with all signals blocked but the one that stops it for other
// threads' scans. It is there from the library's constructor on, and never waited for: a process ends as it would
// without it. Where the program forks, the child gets one of its own. Where the program changes whom it belongs to or
// where it lives, which a process of several threads can do only for all of them alike, or not at all, the thread ends
// before and begins anew afterwards, with what its creator then has (ServicePause; identity_linux.cpp).
//
// Called by: lifecycle, identity.
#pragma once

#include <cstddef>

namespace arenascan::api::control {

// When the process begins. Nothing happens without the option.
void begin_service() noexcept;

// In the child of a fork, with all locks free. The child listens, too, if the parent did, when it has lived for a
// moment: most run another program at once.
void fork_service() noexcept;

// How many of the process's threads are the service's and own nothing: 0 or 1. While one is begun it has memory from
// the C library in hand, which a fork would lose; so that is waited for, for a moment.
std::size_t service_threads() noexcept;

// When the process exits: the socket is removed.
void end_service() noexcept;

// While it lives the service has no thread, neither for the C library nor for the kernel. It finishes what it is doing
// first; where that takes longer than kPauseMs, because it waits for what the caller holds, it stays. Keeps errno.
//
// Threads: any, one after the other.
class ServicePause {
 public:
  ServicePause() noexcept;
  ~ServicePause();
  ServicePause(const ServicePause&) = delete;
  ServicePause& operator=(const ServicePause&) = delete;

 private:
  static constexpr int kPauseMs = 10'000;
  bool was_there_ = false;
};

}  // namespace arenascan::api::control
