// `arenascan replay`: plays a trace under an allocator, in a process of its own.
#include <fstream>
#include <iostream>

#include "api/cli/commands.h"
#include "api/cli/launch.h"

namespace arenascan::cli {

namespace fs = std::filesystem;

namespace {

constexpr const char* kLibrary = "libarenascan.so";
constexpr const char* kSystem = "system";

}  // namespace

int replay(const ReplayRequest& request) {
  const bool is_system = request.allocator == kSystem;
  const std::optional<fs::path> library =
      is_system ? std::optional<fs::path>(fs::path()) : find_library(request.allocator, kLibrary);
  if (!library) return fail(kCannotStart, why_no_library(request.allocator, kLibrary));
  const TemporaryDirectory directory;
  if (directory.path().empty()) return fail(kCannotStart, "no temporary directory could be made for the records");
  const std::string records = (directory.path() / "records").string();
  if (convert_trace(request.trace, records, TraceForm::kRecords) != 0) return kCannotStart;
  const std::string name = is_system ? kSystem : library->filename().string();
  return launch({own_path().string(), "play", records, name}, [&] {
    if (!is_system) put_in_front("LD_PRELOAD", library->string(), ':');
    append("ARENASCAN_OPTIONS", "at_exit=0", ':');
  });
}

}  // namespace arenascan::cli
