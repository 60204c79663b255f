#include "api/lsan/checks.h"

#include <stdio.h>
#include <unistd.h>

#include <atomic>

#include "alloc/check.h"
#include "alloc/os.h"
#include "api/exit_scan.h"
#include "api/face.h"
#include "api/hooks.h"
#include "api/last_report.h"
#include "api/lsan/inputs.h"
#include "api/lsan/options.h"
#include "api/process.h"

extern "C" [[gnu::weak]] int __lsan_is_turned_off();  // NOLINT(*reserved-identifier)

namespace arenascan::api::lsan {
namespace {

// Writer: the first thread to check; readers: others, and the scan at exit. Nothing else hangs on it: relaxed.
constinit std::atomic<bool> g_checked_once{false};

// What the program has written so far. A stream that another thread holds, waiting for input or in the middle of a
// write, is left alone: whoever waits for it here might wait for ever.
void flush_if_free(FILE* stream) noexcept {
  if (ftrylockfile(stream) != 0) return;
  fflush_unlocked(stream);
  funlockfile(stream);
}

[[noreturn]] void leave() noexcept {
  flush_if_free(stdout);
  flush_if_free(stderr);
  _exit(static_cast<int>(alloc::options().exitcode));
}

alloc::FixedText line_of_process(std::string_view words) noexcept {
  alloc::FixedText line;
  line.text("==").decimal(static_cast<std::uint64_t>(alloc::os_process_id())).text("==").text(words);
  return line;
}

// verbosity=1
void tell_figures(const scan::Verdict& verdict) noexcept {
  alloc::FixedText line = line_of_process("LeakSanitizer: checked ");
  line.decimal(verdict.seen.objects).text(" objects of ").decimal(verdict.seen.bytes).text(" bytes in ");
  line.decimal(verdict.total_ns / 1000).text(" us: ").decimal(verdict.direct.objects + verdict.indirect.objects);
  line.text(" leaked, ").decimal(verdict.suppressed.objects).text(" suppressed");
  alloc::write_line(line.view());
}

}  // namespace

scan::ScanSettings check_settings() noexcept {
  scan::ScanSettings settings = scan_settings();
  if (has_hooks()) settings.mark.concurrent = false;
  return settings;
}

void die(std::string_view line) noexcept {
  alloc::write_line(line_of_process(line).view());
  leave();
}

bool is_turned_off() noexcept {
  if (!options().detect_leaks) return true;
  if (__lsan_is_turned_off == nullptr || __lsan_is_turned_off() == 0) return false;
  if (options().verbosity != 0) alloc::write_line(line_of_process("LeakSanitizer is disabled").view());
  return true;
}

std::size_t check_now() noexcept {
  const alloc::ErrnoKeeper keeper;
  if (is_turned_off()) return 0;
  std::size_t leaked = 0;
  bool has_report = false;
  scan::ScanSettings settings = check_settings();
  settings.born_since = input_began_at();
  scan_process(settings, [&](const scan::Verdict& verdict) {
    leaked = verdict.direct.objects + verdict.indirect.objects;
    has_report = report::has_text(verdict, process_suppressions());
    if (options().verbosity != 0) tell_figures(verdict);
  });
  if (has_report) {
    const int fd = open_report();
    report_last_scan(fd, {face::kTellsNoLeaks});
    close_report(fd);
  }
  return leaked;
}

void check_once() noexcept {
  if (!options().detect_leaks || g_checked_once.exchange(true, std::memory_order_relaxed)) return;
  if (check_now() != 0 && alloc::options().exitcode != 0) leave();
}

bool was_checked_once() noexcept { return g_checked_once.load(std::memory_order_relaxed); }

}  // namespace arenascan::api::lsan
