// `arenascan run`: preloads the library into a program and collects the reports of the program and its children.
//
// Reports go to files in a private directory, one a process, because a program may have closed its standard error by
// the time it is scanned. They are printed in the order in which they were finished.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "api/cli/commands.h"
#include "api/cli/launch.h"

namespace arenascan::cli {

namespace fs = std::filesystem;

namespace {

constexpr const char* kLibrary = "libarenascan.so";

void print_reports(const fs::path& directory, std::ostream& out) {
  std::error_code error;  // the program may have removed its temporary files, and these with them
  std::vector<fs::directory_entry> reports(fs::directory_iterator(directory, error), fs::directory_iterator{});
  std::sort(reports.begin(), reports.end(), [&](const fs::directory_entry& a, const fs::directory_entry& b) {
    return a.last_write_time(error) < b.last_write_time(error);
  });
  for (const fs::directory_entry& report : reports) {
    if (std::ifstream in(report.path()); in.peek() != EOF) out << in.rdbuf();
  }
}

}  // namespace

int run(const RunRequest& request) {
  const std::optional<fs::path> library = find_library(request.library, kLibrary);
  if (!library) return fail(kCannotStart, why_no_library(request.library, kLibrary));
  const TemporaryDirectory reports;
  if (reports.path().empty()) return fail(kCannotStart, "no temporary directory could be made for the reports");
  const int status = launch(request.program, [&] {
    put_in_front("LD_PRELOAD", library->string(), ':');
    append("ARENASCAN_OPTIONS", "log_path=\"" + (reports.path() / "report").string() + "\"", ':');
    append("ARENASCAN_OPTIONS", "symbolizer=\"" + own_path().string() + "\"", ':');
    for (const std::string& option : request.options) append("ARENASCAN_OPTIONS", option, ':');
  });
  if (request.log.empty()) {
    print_reports(reports.path(), std::cerr);
    return status;
  }
  std::ofstream log(request.log);
  if (!log) return fail(kCannotStart, request.log + ": cannot be written");
  print_reports(reports.path(), log);
  return status;
}

}  // namespace arenascan::cli
