// `arenascan record`: runs a program with the recorder preloaded, and makes a trace of each of its processes.
#include <unistd.h>

#include <cstdlib>

#include "api/cli/commands.h"
#include "api/cli/launch.h"
#include "api/trace/file.h"

namespace arenascan::cli {

namespace fs = std::filesystem;

namespace {

constexpr const char* kLibrary = "libarenascan_record.so";

// Recordings are named "process.PID.N" (N: how often the process had taken on another program before); this link leads
// to that of the program itself.
constexpr const char* kFirst = "first";

// Makes a trace of each recording: of the program's, OUTPUT; of others, OUTPUT.PID.N.
bool convert_all(const fs::path& directory, const std::string& output) {
  std::error_code error;
  const std::string first = fs::read_symlink(directory / kFirst, error).string();
  bool is_complete = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name == kFirst) continue;
    is_complete = is_complete || name == first;
    const std::string to = name == first ? output : output + name.substr(name.find('.'));
    if (convert_trace(entry.path().string(), to, TraceForm::kRecords) != 0) return false;
  }
  if (!is_complete) fail(kCannotStart, "the program has allocated nothing that could be recorded");
  return is_complete;
}

}  // namespace

int record(const RecordRequest& request) {
  const std::optional<fs::path> library = find_library(request.library, kLibrary);
  if (!library) return fail(kCannotStart, why_no_library(request.library, kLibrary));
  const TemporaryDirectory directory;
  if (directory.path().empty()) return fail(kCannotStart, "no temporary directory could be made for the records");
  const int status = launch(request.program, [&] {
    put_in_front("LD_PRELOAD", library->string(), ':');
    setenv("ARENASCAN_RECORD", (directory.path() / "process").c_str(), 1);
    std::error_code error;
    fs::create_symlink("process." + std::to_string(getpid()) + ".0", directory.path() / kFirst, error);
  });
  if (status == kNotFound || status == kNotExecutable) return status;
  return convert_all(directory.path(), request.output) ? status : kCannotStart;
}

}  // namespace arenascan::cli
