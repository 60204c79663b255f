// The process's beginning, forks and end.
//
// Beginning: the heap sets itself up at the first allocation (process.h). The constructor here only registers the fork
// handlers, as early as it can, so that they are the last to lock and the first to unlock.
//
// Fork: every lock of the library is held across the fork, in the lock order of scanner.h, so the child finds all of
// them free and everything they guard whole. Caches of threads that do not exist in the child are left as they are:
// what they own stays valid, can be freed and is scanned, but nothing more is taken from their pages.
//
// A thread that listens and scans is begun, and in the child of a fork begun again, if an option says so (control/).
//
// End: the scan at exit (exit_scan.h).
#include <pthread.h>

#include "alloc/check.h"
#include "alloc/options.h"
#include "alloc/os.h"
#include "api/allocate.h"
#include "api/control/control.h"
#include "api/control/service.h"
#include "api/exit_scan.h"
#include "api/face.h"
#include "api/guard.h"
#include "api/last_report.h"
#include "api/process.h"
#include "scan/stop_signal.h"

using namespace arenascan;

const char api::kLifecycle = 0;

namespace {

std::size_t g_threads_at_fork = 0;  // that may own something; written with all locks held

void before_fork() noexcept {
  const std::size_t service_threads = api::control::service_threads();
  api::process_scanner().lock();
  api::lock_last_report();
  api::process().threads.lock();
  api::process().roots.lock();
  api::guard::lock();
  api::lock_shared_cache();
  api::process().heap.lock();
  g_threads_at_fork = alloc::os_thread_count() - service_threads;
}

void unlock_all_but_scanner() noexcept {
  api::process().heap.unlock();
  api::unlock_shared_cache();
  api::guard::unlock();
  api::process().roots.unlock();
  api::process().threads.unlock();
  api::unlock_last_report();
}

void after_fork() noexcept {
  unlock_all_but_scanner();
  api::process_scanner().unlock();
}

// Whoever has registered handlers before ours may have started a thread that waits to scan.
void after_fork_in_child() noexcept {
  api::process().id = alloc::os_process_id();
  unlock_all_but_scanner();
  const bool inherits = g_threads_at_fork != 1;
  if (inherits) api::process().inherited_before = api::process_scanner().mark_time();
  if (inherits) api::process().threads.fork_child(pthread_self());
  api::process_scanner().fork_child(inherits);
  api::process_scanner().unlock();
  api::control::fork_service();
}

[[gnu::constructor(101)]] void begin() noexcept {
  api::process().id = alloc::os_process_id();
  scan::StopSignal::learn_processors();
  api::face::begin();
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
  api::control::begin_service();
}

// For stack_recheck.
void tell_stack_counts() noexcept {
  const auto& counts = api::process().stack_counts;
  const std::uint64_t checked = counts.checked.load(std::memory_order_relaxed);
  if (checked == 0) return;
  alloc::FixedText line;
  line.text("arenascan: stacks: ").decimal(counts.hits.load(std::memory_order_relaxed)).text(" known, ");
  line.decimal(counts.walks.load(std::memory_order_relaxed)).text(" walked; of ").decimal(checked);
  line.text(" walked again ").decimal(counts.wrong.load(std::memory_order_relaxed)).text(" were wrong\n");
  const int fd = api::open_report();
  alloc::os_write_all(fd, line.view().data(), line.view().size());
  api::close_report(fd);
}

[[gnu::destructor(101)]] void end() noexcept {
  tell_stack_counts();
  api::control::end_service();
  if (api::face::scans_at_exit() && !api::control::Control::is_off()) api::scan_at_exit();
}

}  // namespace
