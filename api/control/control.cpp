#include "api/control/control.h"

#include <algorithm>
#include <cerrno>

#include "alloc/options.h"
#include "alloc/os.h"
#include "api/arenascan/arena.h"
#include "api/exit_scan.h"
#include "api/explain.h"
#include "api/last_report.h"
#include "api/process.h"
#include "api/report/modules.h"
#include "api/report/writer.h"

namespace arenascan::api::control {
namespace {

using report::Writer;

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

// Writer: the thread that answers `off`. Reader: the one that exits; relaxed, for who scans just then may do so.
constinit std::atomic<bool> g_is_off{false};

void write_count(Writer& out, std::string_view what, const scan::Count& count) noexcept {
  out.text(what).decimal(count.objects).text(" objects, ").decimal(count.bytes).text(" bytes\n");
}

void write_ms(Writer& out, std::string_view what, std::uint64_t ns) noexcept {
  const std::uint64_t hundredths = ns / 10'000;
  out.text(what).decimal(hundredths / 100).text(hundredths % 100 < 10 ? ".0" : ".").decimal(hundredths % 100);
  out.text(" ms");
}

scan::Count leaked(const scan::Verdict& verdict) noexcept {
  return {verdict.direct.objects + verdict.indirect.objects, verdict.direct.bytes + verdict.indirect.bytes};
}

void write_verdict(Writer& out, const scan::Verdict& verdict) noexcept {
  if (verdict.incomplete != scan::Incomplete::kNo) {
    out.text("incomplete: ").text(scan::to_text(verdict.incomplete));
    if (verdict.incomplete_thread != 0) {
      out.text(" (thread ").decimal(static_cast<std::uint64_t>(verdict.incomplete_thread)).text(")");
    }
    out.text("\n");
    return;
  }
  write_count(out, "leaked: ", leaked(verdict));
  write_count(out, "new: ", verdict.fresh);
}

void write_figures(Writer& out, const scan::Verdict& verdict) noexcept {
  write_verdict(out, verdict);
  write_count(out, "seen: ", verdict.seen);
  write_count(out, "reached: ", verdict.reached);
  write_count(out, "changed orphans: ", verdict.changed);
  write_count(out, "suppressed: ", verdict.suppressed);
  out.text("mark: ").text(scan::to_text(verdict.way)).text("\n");
  write_ms(out, "time: ", verdict.total_ns);
  write_ms(out, "\nlongest pause: ", verdict.longest_pause_ns);
  out.text("\n");
}

// Where reports go, if that is not a stream of the program's, which may be anything by now.
void tell_new_leaks(const scan::Verdict& verdict) noexcept {
  if (verdict.fresh.objects == 0) return;
  const int file = open_log();
  if (file < 0) return;
  {
    Writer out(file);
    const auto process = static_cast<std::uint64_t>(alloc::os_process_id());
    out.text("arenascan: ").decimal(process).text(": ").decimal(verdict.fresh.objects).text(" new leaked objects, ");
    out.decimal(verdict.fresh.bytes).text(" bytes; `arenascan ctl ").decimal(process).text(" report` tells more\n");
  }
  close_report(file);
}

}  // namespace

bool rest_until(std::uint64_t until_ns, const std::atomic<bool>& goes_on) noexcept {
  constexpr std::uint64_t kFirstPieceNs = 1'000'000;
  constexpr std::uint64_t kLongestPieceNs = 100'000'000;
  for (std::uint64_t piece = kFirstPieceNs;; piece = std::min(2 * piece, kLongestPieceNs)) {
    const std::uint64_t now = alloc::os_monotonic_ns();
    if (!goes_on.load(std::memory_order_relaxed)) return false;
    if (now >= until_ns) return true;
    alloc::os_sleep_ns(std::min(until_ns - now, piece));
  }
}

Control::Control(const std::atomic<bool>& goes_on, std::uint64_t now_ns) noexcept
    : goes_on_(goes_on),
      every_s_(alloc::options().scan_every_s),
      min_age_ns_(alloc::options().min_age_s * kNsPerSecond) {
  if (every_s_ == 0) return;
  const std::uint64_t first_ns = alloc::options().first_scan_s * kNsPerSecond;
  next_ns_ = now_ns + (first_ns > min_age_ns_ ? first_ns - min_age_ns_ : 0);
}

bool Control::is_off() noexcept { return g_is_off.load(std::memory_order_relaxed); }

void Control::schedule(std::uint64_t wait_s) noexcept {
  every_s_ = wait_s;
  mark_ = 0;
  next_ns_ = UINT64_MAX;
  if (every_s_ == 0) return;
  const std::uint64_t wait_ns = every_s_ * kNsPerSecond;
  next_ns_ = alloc::os_monotonic_ns() + (wait_ns > min_age_ns_ ? wait_ns - min_age_ns_ : 0);
}

void Control::run_due(std::uint64_t now_ns) noexcept {
  constexpr int kNobody = -1;
  if (now_ns < next_ns_) return;
  if (mark_ == 0 && min_age_ns_ != 0) {
    mark_ = process_scanner().mark_time();
    next_ns_ = now_ns + min_age_ns_;
    return;
  }
  scan(mark_, kNobody);
  schedule(every_s_);
}

// EINTR: it did not come to that.
int Control::scan_now(int body) noexcept {
  std::uint32_t mark = 0;
  if (min_age_ns_ != 0) {
    mark = process_scanner().mark_time();
    if (!rest_until(alloc::os_monotonic_ns() + min_age_ns_, goes_on_)) return EINTR;
  }
  return scan(mark, body);
}

// Tells of the verdict in `body`, or, when nobody has asked, of what is new where reports go.
int Control::scan(std::uint32_t born_before, int body) noexcept {
  scan::ScanSettings settings = scan_settings();
  settings.born_before = born_before;
  settings.min_unref_scans = static_cast<std::uint16_t>(alloc::options().min_unref_scans);
  settings.mark.roots.stacks = settings.mark.roots.stacks && scans_stacks_;
  arena_scrub_stack();
  ++scans_;
  int error = 0;
  scan_process(settings, [&](const scan::Verdict& verdict) {
    if (verdict.incomplete != scan::Incomplete::kNo) ++incomplete_;
    if (body >= 0) {
      Writer out(body);
      write_verdict(out, verdict);
      error = out.flush();
    } else {
      tell_new_leaks(verdict);
    }
  });
  return error;
}

int Control::write_stats(int body) const noexcept {
  Writer out(body);
  out.text("process: ").decimal(static_cast<std::uint64_t>(alloc::os_process_id())).text(" ");
  out.text(report::program_name().view()).text("\nscanning: ");
  if (every_s_ == 0) {
    out.text("when asked\n");
  } else {
    const std::uint64_t now = alloc::os_monotonic_ns();
    const std::uint64_t due = next_ns_ + (mark_ == 0 ? min_age_ns_ : 0);
    out.text("every ").decimal(every_s_).text(" s, next in ");
    out.decimal(due > now ? (due - now) / kNsPerSecond : 0).text(" s\n");
  }
  out.text("stacks: ").text(scans_stacks_ ? "on" : "off").text("\nscans: ").decimal(scans_);
  out.text(", incomplete: ").decimal(incomplete_).text("\n");
  out.text("heap: ").decimal(process().heap.taken_bytes()).text(" bytes\n");
  const bool has_any = with_last_verdict([&](const scan::Verdict& verdict) {
    out.text("last scan:\n");
    write_figures(out, verdict);
  });
  if (!has_any) out.text("last scan: none\n");
  return out.flush();
}

bool Control::answer(const Request& request, int body, alloc::FixedText& problem, void* self) noexcept {
  Control& control = *static_cast<Control*>(self);
  int error = 0;
  switch (request.command) {
    case Command::kScan: error = control.scan_now(body); break;
    case Command::kScanOn: control.schedule(control.every_s_ != 0 ? control.every_s_ : kUsualSeconds); break;
    case Command::kScanOff: control.schedule(0); break;
    case Command::kScanEvery: control.schedule(request.value); break;
    case Command::kStack: control.scans_stacks_ = request.value != 0; break;
    case Command::kClear: clear_leaks(); break;
    case Command::kOff:
      control.schedule(0);
      g_is_off.store(true, std::memory_order_relaxed);
      break;
    case Command::kDump: error = describe_object(reinterpret_cast<const void*>(~request.value), body); break;
    case Command::kReport: error = report_last_scan(body); break;
    case Command::kStats: error = control.write_stats(body); break;
  }
  if (error == 0) return true;
  if (request.command == Command::kDump && error == EINVAL) {
    problem.text("there is no object at ").hex(~request.value);
  } else if (request.command == Command::kReport && error == ENOENT) {
    problem.text("there was no scan yet; ask for `scan` first");
  } else if (error == EINTR) {
    problem.text("the process changes its user just now, or ends; ask again");
  } else {
    problem.text("the answer could not be written, error ").decimal(static_cast<std::uint64_t>(error));
  }
  return false;
}

}  // namespace arenascan::api::control
