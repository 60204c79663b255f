// Runs a program of which every call of a kind of calls.h is asked about first, and fails as a plan says.
//
// A filter of system calls (seccomp) that the program gets before its exec stops each such call and tells the
// supervisor, a process of its own, which lets it go on or answers in the kernel's place. So it makes no difference who
// calls, from where, with which signals blocked, or whether somebody traces: all threads and all children are seen.
//
// Neither counted nor failed: what the dynamic loader asks for itself (it calls from its own code, where the library
// never does), and what is written to standard output and error. The library takes no risks in a process whose calls
// are filtered, since a filter may kill; this one does not, so who opens /proc/.../status reads there that there is
// none.
#pragma once

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "tests/faults/plan.h"

namespace arenascan::test {

struct FailedCall {
  std::size_t kind;
  unsigned nth;
  int error;
};

struct Run {
  bool was_supervised = false;  // else `output` says why not
  bool timed_out = false;
  int status = 0;  // as waitpid tells it
  std::string output;
  std::array<unsigned, kCallKindCount> calls{};
  std::vector<FailedCall> failed;
};

// Standard output and error of the program, and of all its children, are one text.
Run run_supervised(const std::vector<std::string>& command, Plan plan, std::chrono::seconds limit);

}  // namespace arenascan::test
