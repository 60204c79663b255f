// The subcommands of `arenascan`. Each returns the exit status of the process.
#pragma once

#include <string>
#include <vector>

namespace arenascan::cli {

struct RunRequest {
  std::vector<std::string> program;  // path or name, then its arguments
  std::vector<std::string> options;  // key=value, for ARENASCAN_OPTIONS
  std::string library;               // empty: found beside the command
  std::string log;                   // file for the reports; empty: standard error
};

// Runs a program under the library, waits for it, prints the reports of all its processes. Returns the program's
// status; 128 + n for signal n; 127, 126, 125 when it could not be started: not found, not executable, anything else.
int run(const RunRequest& request);

// Answers questions about code addresses on standard input until it ends; see symbolize.cpp for the form.
int symbolize();

// Writes the trace `from`, of any form that api/trace/file.h knows, to `to` (empty: standard output; only text), as
// lines or as records. Returns 1 when it cannot be read or written, with one line that says why.
enum class TraceForm { kText, kRecords };
int convert_trace(const std::string& from, const std::string& to, TraceForm form);

}  // namespace arenascan::cli
