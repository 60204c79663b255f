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

// Sends a command (api/control/request.h) to a process that listens, and prints the answer. Returns 0; 1 with a line
// that says why when nobody listens, or the command is refused.
int control(int process, const std::string& command);

// Prints the processes that listen to this user, a line each: number and name; to root, those of all users.
int list_listening();

struct RecordRequest {
  std::vector<std::string> program;  // path or name, then its arguments
  std::string output;                // the trace; those of other processes get its name with PID.N behind it
  std::string library;               // empty: found beside the command
};

// Runs a program with its allocations recorded, and writes a trace of each of its processes. Returns the program's
// status, or as run().
int record(const RecordRequest& request);

struct ReplayRequest {
  std::string trace;
  std::string allocator;  // a library to preload; empty: ours; "system": none
};

// Plays a trace in a process with that allocator. Returns 0; 1 when a scan does not find what the trace says is alive;
// or as run().
int replay(const ReplayRequest& request);

// What that process does: plays the records in `file`, and prints how long it took and what was alive.
int play(const std::string& file, const std::string& allocator);

// Writes the trace `from`, of any form that api/trace/file.h knows, to `to` (empty: standard output; only text), as
// lines or as records. Returns 1 when it cannot be read or written, with one line that says why.
enum class TraceForm { kText, kRecords };
int convert_trace(const std::string& from, const std::string& to, TraceForm form);

}  // namespace arenascan::cli
