#include "api/result.h"

namespace arenascan::api {
namespace {

arena_count to_public(const scan::Count& count) noexcept { return {count.objects, count.bytes}; }

static_assert(static_cast<int>(scan::Incomplete::kNo) == ARENA_COMPLETE);
static_assert(static_cast<int>(scan::Incomplete::kNoMemory) == ARENA_INCOMPLETE_NO_MEMORY);
static_assert(static_cast<int>(scan::Incomplete::kThreadNotStopped) == ARENA_INCOMPLETE_THREAD_NOT_STOPPED);
static_assert(static_cast<int>(scan::Incomplete::kSignalTaken) == ARENA_INCOMPLETE_SIGNAL_TAKEN);
static_assert(static_cast<int>(scan::Incomplete::kMapsUnreadable) == ARENA_INCOMPLETE_MAPS_UNREADABLE);
static_assert(static_cast<int>(scan::Incomplete::kCancelled) == ARENA_INCOMPLETE_CANCELLED);
static_assert(static_cast<int>(scan::Incomplete::kClosedMemory) == ARENA_INCOMPLETE_CLOSED_MEMORY);
static_assert(static_cast<int>(scan::Phase::kMark) == ARENA_PHASE_MARK);
static_assert(static_cast<int>(scan::Phase::kReread) == ARENA_PHASE_REREAD);
static_assert(static_cast<int>(scan::Phase::kClassify) == ARENA_PHASE_CLASSIFY);

}  // namespace

void fill_result(const scan::Verdict& verdict, arena_scan_result& result) noexcept {
  result.incomplete = static_cast<int>(verdict.incomplete);
  result.incomplete_thread = verdict.incomplete_thread;
  result.incomplete_why = verdict.incomplete == scan::Incomplete::kNo ? "" : scan::to_text(verdict.incomplete);
  result.seen = to_public(verdict.seen);
  result.reached = to_public(verdict.reached);
  result.orphans = to_public(verdict.orphans);
  result.changed = to_public(verdict.changed);
  result.suppressed = to_public(verdict.suppressed);
  result.leaked = {verdict.direct.objects + verdict.indirect.objects, verdict.direct.bytes + verdict.indirect.bytes};
  result.direct = to_public(verdict.direct);
  result.indirect = to_public(verdict.indirect);
  result.fresh = to_public(verdict.fresh);
  result.recovered = to_public(verdict.recovered);
  result.concurrent = verdict.way == scan::Way::kConcurrent ? 1 : 0;
  result.way = scan::to_text(verdict.way);
  result.pauses = verdict.pauses;
  result.root_bytes = verdict.root_bytes;
  result.threads = verdict.threads;
  result.markers = verdict.lanes;
  result.prepare_ns = verdict.prepare_ns;
  result.mark_ns = verdict.mark_ns;
  result.white_ns = verdict.white_ns;
  result.classify_ns = verdict.classify_ns;
  result.longest_pause_ns = verdict.longest_pause_ns;
  result.total_pause_ns = verdict.total_pause_ns;
  result.total_ns = verdict.total_ns;
}

}  // namespace arenascan::api
