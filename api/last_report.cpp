#include "api/last_report.h"

#include <cerrno>
#include <mutex>
#include <new>
#include <utility>

#include "alloc/os.h"
#include "api/process.h"

namespace arenascan::api {
namespace {

constinit std::mutex g_mutex;
bool g_has_verdict = false;  // g_mutex
constinit Immortal<report::Suppressions> g_suppressions;
alignas(scan::Verdict) std::byte g_storage[sizeof(scan::Verdict)];  // g_mutex; never destroyed

}  // namespace

void scan_process(const scan::ScanSettings& wanted, VerdictVisit visit, void* argument) noexcept {
  const int saved_errno = errno;
  scan::Verdict verdict;
  if (t_thread.scanning) {  // from the progress callback
    verdict.incomplete = scan::Incomplete::kCancelled;
    visit(verdict, argument);
    errno = saved_errno;
    return;
  }
  t_thread.scanning = true;
  {
    scan::ScanSettings settings = wanted;
    report::Suppressions::Search search(process_suppressions(), process().tables.stacks);
    if (!process_suppressions().list().empty()) {
      settings.suppress_argument = &search;
      settings.is_suppressed = [](alloc::StackId stack, void* asked) {
        return static_cast<report::Suppressions::Search*>(asked)->covers(stack);
      };
    }
    process_scanner().scan(settings, verdict);
  }
  t_thread.scanning = false;
  visit(verdict, argument);
  {
    const std::scoped_lock guard(g_mutex);
    if (g_has_verdict) {
      *reinterpret_cast<scan::Verdict*>(g_storage) = std::move(verdict);
    } else {
      new (g_storage) scan::Verdict(std::move(verdict));
    }
    g_has_verdict = true;
  }
  errno = saved_errno;
}

int report_last_scan(int fd, const report::TextSettings& settings) noexcept {
  const std::scoped_lock guard(g_mutex);
  if (!g_has_verdict) return ENOENT;
  return report::write_text_report(fd, *reinterpret_cast<scan::Verdict*>(g_storage), process().tables.stacks,
                                   process_suppressions(), settings);
}

bool with_last_verdict(VerdictVisit visit, void* argument) noexcept {
  const std::scoped_lock guard(g_mutex);
  if (g_has_verdict) visit(*reinterpret_cast<scan::Verdict*>(g_storage), argument);
  return g_has_verdict;
}

int clear_leaks() noexcept {
  const alloc::ErrnoKeeper keeper;
  if (t_thread.scanning) return EBUSY;
  process_scanner().forget_leaks();
  const std::scoped_lock guard(g_mutex);
  if (!g_has_verdict) return 0;
  auto& verdict = *reinterpret_cast<scan::Verdict*>(g_storage);
  verdict.direct = verdict.indirect = verdict.fresh = {};
  verdict.leaks.clear();
  verdict.objects.clear();
  return 0;
}

report::Suppressions& process_suppressions() noexcept { return g_suppressions.value; }

void lock_last_report() noexcept { g_mutex.lock(); }
void unlock_last_report() noexcept { g_mutex.unlock(); }

}  // namespace arenascan::api
