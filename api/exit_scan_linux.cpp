#include "api/exit_scan.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "alloc/check.h"
#include "alloc/options.h"
#include "alloc/os.h"
#include "api/face.h"
#include "api/last_report.h"
#include "api/main_end.h"
#include "api/process.h"

// The C library's registration of exit handlers; unlike atexit it can be told that no module owns the handler.
extern "C" int __cxa_atexit(void (*handler)(void*), void* argument, void* module);  // NOLINT(*reserved-identifier)

namespace arenascan::api {
namespace {

bool g_found_leaks = false;  // one thread exits

constexpr std::string_view kStandardError = "stderr";
constexpr std::string_view kStandardOutput = "stdout";

alloc::FixedText log_name() noexcept {
  alloc::FixedText name;
  name.text(alloc::options().log_path.view());
  if (alloc::options().log_exe_name) name.text(".").text(report::program_name().view());
  name.text(".").decimal(static_cast<std::uint64_t>(alloc::os_process_id()));
  return name;
}

void report_and_leave(void*) noexcept {
  const int fd = open_report();
  report_last_scan(fd, {face::kTellsNoLeaks});
  close_report(fd);
  const unsigned exitcode = alloc::options().exitcode;
  if (g_found_leaks && exitcode != 0) exit(static_cast<int>(exitcode));
}

}  // namespace

int open_report() noexcept {
  const std::string_view path = alloc::options().log_path.view();
  if (path.empty() || path == kStandardError) return STDERR_FILENO;
  if (path == kStandardOutput) return STDOUT_FILENO;
  const int fd = open_log();
  if (fd >= 0) return fd;
  alloc::FixedText complaint;
  complaint.text("arenascan: cannot write the report to ").text(log_name().view());
  complaint.text("; it goes to standard error");
  alloc::write_line(complaint.view());
  return STDERR_FILENO;
}

int open_log() noexcept {
  const std::string_view path = alloc::options().log_path.view();
  if (path.empty() || path == kStandardError || path == kStandardOutput) return -1;
  alloc::FixedText name = log_name();
  name.text({"\0", 1});
  return open(name.view().data(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

void close_report(int fd) noexcept {
  if (fd > STDERR_FILENO) close(fd);
}

void scan_at_exit() noexcept {
  bool has_report = false;
  scan::ScanSettings settings = scan_settings();
  settings.mark.live_stack = live_stack_after_main();
  settings.mark.concurrent = false;  // nobody waits any more for what other threads still do
  scan_process(settings, [&](const scan::Verdict& verdict) {
    g_found_leaks = verdict.direct.objects + verdict.indirect.objects != 0;
    has_report = report::has_text(verdict, process_suppressions());
  });
  if (has_report) __cxa_atexit(report_and_leave, nullptr, nullptr);
}

}  // namespace arenascan::api
