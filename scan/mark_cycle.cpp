#include "scan/mark_cycle.h"

#include <algorithm>

#include "alloc/os.h"
#include "scan/errand.h"

namespace arenascan::scan {

using alloc::MetaVector;
using alloc::os_monotonic_ns;

namespace {

// A heap of this size is marked in less time than two pauses take.
constexpr std::size_t kSmallHeapBytes = std::size_t{2} << 20;

// Scans that follow each other so closely are worth looking ahead for the next, where large objects have so many bytes.
constexpr std::uint64_t kCloselyNs = 100'000'000;
constexpr std::size_t kWorthwhileBytes = std::size_t{1} << 20;

// How many pauses may be in vain with the same budget, and how often the budget is doubled before there is none any
// more: a program that writes faster than pauses allow to follow gets longer ones, instead of no verdict.
constexpr unsigned kAttemptsABudget = 32;
constexpr unsigned kBudgetsDoubled = 3;
// By which part of it a pause may be longer than the roots take, at first, and after a few in vain.
constexpr unsigned kAttemptsAtFirst = 4;
constexpr unsigned part_over_roots(unsigned attempts) noexcept { return attempts < kAttemptsAtFirst ? 4 : 2; }

// A program that is slowed down runs one part of so many of the time, once it runs: threads that slept have to be
// woken.
constexpr unsigned kSlowedShare = 4;
constexpr std::uint64_t kLongestWakeNs = 400'000;

}  // namespace

Incomplete MarkCycle::run(const MarkSettings& settings, Pace& pace, std::uintptr_t stack_pointer,
                          AddressRange own_stack, Verdict& verdict, OrphanList& white) noexcept {
  const std::uint64_t began = os_monotonic_ns();
  marker_.set_forms(settings.forms);
  verdict.way = choose_way(settings);
  pauses_.set_alone(verdict.way == Way::kStoppedAlone);
  if (surroundings_ != nullptr) {
    if (const Incomplete problem = roots_.prepare(pauses_.is_alone()); problem != Incomplete::kNo) return problem;
  }
  marker_.set_lanes(settings.pace.processor_percent < 100 ? 1 : std::min(settings.lanes, kMostLanes));
  verdict.prepare_ns = os_monotonic_ns() - began;
  const Job job{settings, pace, stack_pointer, own_stack, verdict};
  Incomplete problem = Incomplete::kNo;
  if (verdict.way == Way::kConcurrent) {
    quiet_.forget();
    pagemap_.open(Pagemap::Beside::kProgram);
    problem = run_concurrent(job, white);
    pagemap_.close();
    if (problem == Incomplete::kWatchLost) {
      verdict.way = Way::kStoppedNoWatch;
      white.clear();
    }
  }
  if (verdict.way != Way::kConcurrent) problem = run_stopped(job, white);
  marker_.dismiss_helpers();
  marker_.forget_known();
  verdict.lanes = static_cast<unsigned>(marker_.lanes_used());
  verdict.reached = marker_.reached();
  survey_for_next(settings, began);
  return problem == Incomplete::kNo && marker_.has_missed() ? Incomplete::kClosedMemory : problem;
}

bool MarkCycle::may_skip_quiet(const MarkSettings& settings) const noexcept {
  return surroundings_ != nullptr && settings.forms.are_plain() && roots_.closed_heap().parts.empty();
}

void MarkCycle::survey_for_next(const MarkSettings& settings, std::uint64_t began_ns) noexcept {
  const bool follows_closely = began_ns < ended_ns_ + kCloselyNs;
  std::size_t in_use_bytes = 0;
  {
    const std::scoped_lock heap(heap_);
    in_use_bytes = heap_.in_use_locked().bytes;
  }
  // Where the next mark may be a concurrent one, it has to make the heap small: those begin anew each time.
  const bool stands_still = pauses_.is_alone() || !settings.concurrent;
  const std::size_t small_bytes = stands_still ? in_use_bytes : kSmallHeapBytes;
  const std::size_t least_bytes = std::max(kWorthwhileBytes, in_use_bytes - std::min(in_use_bytes, small_bytes));
  const auto range = heap_.range();
  if (follows_closely && may_skip_quiet(settings) &&
      quiet_.list(heap_, in_use_bytes >> alloc::kPageShift) >= least_bytes &&
      watch_.prepare({range.begin, range.begin + range.bytes})) {
    pagemap_.open(Pagemap::Beside::kProgram);
    quiet_.survey(pagemap_);
    pagemap_.close();
  } else {
    quiet_.forget();
  }
  ended_ns_ = os_monotonic_ns();
}

Way MarkCycle::choose_way(const MarkSettings& settings) noexcept {
  // Nobody else can start a thread.
  if (surroundings_ == nullptr || alloc::os_thread_count() == 1) return Way::kStoppedAlone;
  if (!settings.concurrent) return Way::kStoppedByOption;
  if (settings.inherited_before != 0) return Way::kStoppedForked;
  {
    const std::scoped_lock heap(heap_);
    if (heap_.in_use_locked().bytes <= kSmallHeapBytes + quiet_.bytes()) return Way::kStoppedSmall;
  }
  const auto range = heap_.range();
  if (!watch_.prepare({range.begin, range.begin + range.bytes})) return Way::kStoppedNoWatch;
  return Way::kConcurrent;
}

Incomplete MarkCycle::run_stopped(const Job& job, OrphanList& white) noexcept {
  const std::uint64_t began = os_monotonic_ns();
  const auto before = [&] {
    heap_.age_births_locked();
    return true;
  };
  const Pause pause(pauses_, job.settings.stop, job.verdict, before);
  if (!pause.is_stopped()) return pause.problem();
  const std::uint64_t stopped = os_monotonic_ns();
  stamp_ = heap_.advance_stamp_locked();
  const std::size_t page_end = heap_.in_use_locked().bytes >> alloc::kPageShift;
  pagemap_.open(Pagemap::Beside::kStoppedWorld);
  Incomplete problem = collect_roots(job);
  const bool skips_quiet = problem == Incomplete::kNo && !quiet_.empty() && may_skip_quiet(job.settings);
  if (skips_quiet) quiet_.begin_mark(pagemap_);
  pagemap_.close();
  if (problem == Incomplete::kNo && !marker_.begin_locked()) problem = Incomplete::kNoMemory;
  marker_.set_quiet(skips_quiet ? &quiet_ : nullptr);
  marker_.set_closed(roots_.closed_heap());
  if (problem == Incomplete::kNo) {
    mark_annotated(page_end);
    mark_roots(job);
    marker_.drain();
    if (job.settings.inherited_before != 0 && !mark_inherited(job.settings.inherited_before)) {
      problem = Incomplete::kNoMemory;
    }
  }
  marker_.set_quiet(nullptr);  // good as long as the world stands
  const std::uint64_t marked = os_monotonic_ns();
  if (problem == Incomplete::kNo && !find_white_stopped(heap_, page_end, marker_, white)) {
    problem = Incomplete::kNoMemory;
  }
  job.verdict.prepare_ns += stopped - began;
  job.verdict.mark_ns = marked - stopped;
  job.verdict.white_ns = os_monotonic_ns() - marked;
  return problem;
}

Incomplete MarkCycle::run_concurrent(const Job& job, OrphanList& white) noexcept {
  const std::uint64_t began = os_monotonic_ns();
  if (const Incomplete problem = begin_concurrent(job); problem != Incomplete::kNo) return problem;
  mark_annotated(marker_.page_end());
  Incomplete problem = rereader_.drain(job.pace, Phase::kMark);
  if (problem == Incomplete::kNo) problem = rereader_.begin(job.pace);
  const std::uint64_t marked = os_monotonic_ns();
  if (problem == Incomplete::kNo && !find_white(heap_, marker_.page_end(), marker_.epoch(), white)) {
    problem = Incomplete::kNoMemory;
  }
  job.verdict.white_ns = os_monotonic_ns() - marked;
  if (problem == Incomplete::kNo) problem = finish(job, white);
  if (problem == Incomplete::kNo) problem = rereader_.release_busy(watch_, job.pace);
  job.verdict.mark_ns = os_monotonic_ns() - began - job.verdict.white_ns;
  return problem;
}

// The first pause: what the program's threads can reach at once.
Incomplete MarkCycle::begin_concurrent(const Job& job) noexcept {
  Incomplete problem = Incomplete::kNo;
  {
    const auto before = [&] {
      heap_.age_births_locked();
      if (!marker_.begin_locked()) problem = Incomplete::kNoMemory;
      return problem == Incomplete::kNo;
    };
    const Pause pause(pauses_, job.settings.stop, job.verdict, before);
    if (problem == Incomplete::kNo) problem = pause.problem();
    if (problem == Incomplete::kNo) problem = collect_roots(job);
    if (problem == Incomplete::kNo) {
      marker_.set_closed(roots_.closed_heap());
      mark_roots(job);
    }
    first_pause_ns_ = os_monotonic_ns() - pauses_.began_ns();
  }
  return problem;
}

// Attempts until one fits into a pause. The budget is doubled after some that were in vain.
Incomplete MarkCycle::finish(const Job& job, OrphanList& white) noexcept {
  Incomplete problem = settle(job);
  for (unsigned attempts = 0; problem == Incomplete::kNo; ++attempts) {
    const unsigned doubled = attempts / kAttemptsABudget;
    const std::uint64_t pause_ns = doubled < kBudgetsDoubled ? job.settings.pause_ns << doubled : 0;
    keep_white(white, marker_.epoch());
    Attempt attempt = Attempt::kFinished;
    problem = try_to_finish(job, pause_ns, pause_ns / part_over_roots(attempts), white, attempt);
    await_errand();  // of a thread that had no processor for it
    if (problem != Incomplete::kNo || attempt == Attempt::kFinished) break;
    problem = rereader_.drain(job.pace, Phase::kReread);
    if (problem != Incomplete::kNo) break;
    switch (attempt) {
      case Attempt::kListed: problem = reread_slowly(job, pause_ns); break;
      case Attempt::kTooLong: problem = rereader_.catch_up_listed(job.pace); break;
      case Attempt::kOutgrown:
        problem = rereader_.begin_anew(job.pace);
        if (problem == Incomplete::kNo) problem = settle(job);
        break;
      case Attempt::kStoppedLate:
      case Attempt::kFinished: break;
    }
  }
  return problem;
}

// Rereads what was listed, and marks on, without rest; the program runs for a part of that time. So less is written
// than read.
Incomplete MarkCycle::reread_slowly(const Job& job, std::uint64_t pause_ns) noexcept {
  const auto read_until = [this](std::uint64_t deadline_ns) {
    return rereader_.reread_until(deadline_ns, Marker::Time::kToSpare) && marker_.drain_until(deadline_ns);
  };
  const std::uint64_t run_ns = pause_ns / kSlowedShare;
  for (;;) {
    bool is_done = false;
    const std::uint64_t resumed = os_monotonic_ns();
    std::uint64_t began = resumed;
    for (; !is_done && !World::has_resumed() && began < resumed + kLongestWakeNs; began = os_monotonic_ns()) {
      is_done = read_until(began + kLongestWakeNs / 16);
    }
    is_done = is_done || read_until(began + run_ns);
    rereader_.note_run(os_monotonic_ns() - began);
    if (is_done) return Incomplete::kNo;
    if (!job.pace.go_on(Phase::kReread, marker_.reached())) return Incomplete::kCancelled;

    const Pause pause(pauses_, job.settings.stop, job.verdict, [] { return true; });
    if (!pause.is_stopped()) return pause.problem();
    if (read_until(lease_slowed(pause_ns))) return Incomplete::kNo;
  }
}

// A lease, and until when the program stands still where it is slowed down: its share of a budget, of which stopping it
// may have taken more than there is for that.
std::uint64_t MarkCycle::lease_slowed(std::uint64_t pause_ns) noexcept {
  const std::uint64_t until_ns = std::min(os_monotonic_ns() + pause_ns - pause_ns / kSlowedShare,
                                          pauses_.began_ns() + pauses_.until_resume_ns(pause_ns));
  pauses_.lease_until(until_ns);
  return until_ns;
}

// Beside the program, until little is written between two readings.
Incomplete MarkCycle::settle(const Job& job) noexcept {
  if (const Incomplete problem = rereader_.catch_up(job.pace); problem != Incomplete::kNo) return problem;
  roots_.rehearse(pagemap_);
  return rereader_.catch_up_hot(job.pace);
}

// A pause of `pause_ns` at most, or so much longer than the roots take; 0: no limit. Where that will not do, it is used
// for listing what was written, and for protecting it, which takes a sixth of the time while no thread runs.
Incomplete MarkCycle::try_to_finish(const Job& job, std::uint64_t pause_ns, std::uint64_t over_roots_ns,
                                    OrphanList& white, Attempt& attempt) noexcept {
  const std::uint64_t limit_ns = pauses_.until_resume_ns(std::max(pause_ns, first_pause_ns_ + over_roots_ns));
  const std::uint64_t before_ns = std::max(first_pause_ns_, until_listed_ns_);
  const bool may_do = pause_ns == 0 || rereader_.expects_little() || before_ns + rereader_.expected_ns() <= limit_ns;
  Incomplete problem = Incomplete::kNo;
  const auto before = [&] {
    if (marker_.knows_all_locked()) return true;
    attempt = Attempt::kOutgrown;
    if (!marker_.extend_locked()) problem = Incomplete::kNoMemory;
    return false;
  };
  const Pause pause(pauses_, job.settings.stop, job.verdict, before,
                    may_do ? World::Meanwhile::kSpin : World::Meanwhile::kSleep);
  if (!pause.is_stopped()) return problem != Incomplete::kNo ? problem : pause.problem();
  if (may_do && marker_.knows_all_locked()) {  // it may have grown while the last thread was waited for
    const std::uint64_t deadline_ns = pause_ns == 0 ? UINT64_MAX : pauses_.began_ns() + limit_ns;
    if (os_monotonic_ns() + listing_ns_ > deadline_ns) {
      attempt = Attempt::kStoppedLate;  // a thread's processor was busy otherwise
    } else {
      problem = finish_until(job, deadline_ns, white, attempt);
    }
  } else {
    attempt = Attempt::kListed;
    problem = rereader_.list_and_protect(lease_slowed(pause_ns));
  }
  return problem;
}

Incomplete MarkCycle::finish_until(const Job& job, std::uint64_t deadline_ns, OrphanList& white,
                                   Attempt& attempt) noexcept {
  attempt = Attempt::kTooLong;
  const std::uint64_t stood = os_monotonic_ns();
  rereader_.begin_list_locked();
  Incomplete problem = mark_from_roots(job);
  pauses_.lease_until(deadline_ns);
  const Incomplete listed = rereader_.end_list();
  const std::uint64_t listed_at = std::min(os_monotonic_ns(), deadline_ns);
  until_listed_ns_ = mean_of(until_listed_ns_, listed_at - pauses_.began_ns());
  listing_ns_ = mean_of(listing_ns_, listed_at - std::min(stood, listed_at));
  if (problem == Incomplete::kNo) problem = listed;
  if (problem != Incomplete::kNo || os_monotonic_ns() + rereader_.listed_ns() > deadline_ns) return problem;
  if (!rereader_.reread_until(deadline_ns, Marker::Time::kShort) || !marker_.drain_until(deadline_ns)) return problem;
  if (!pauses_.hold()) return problem;
  attempt = Attempt::kFinished;
  stamp_ = heap_.advance_stamp_locked();
  keep_white(white, marker_.epoch());
  return Incomplete::kNo;
}

Incomplete MarkCycle::mark_from_roots(const Job& job) noexcept {
  if (const Incomplete problem = collect_roots(job); problem != Incomplete::kNo) return problem;
  marker_.set_closed(roots_.closed_heap());
  mark_roots(job);
  if (annotations_ != heap_.annotations()) mark_annotated(heap_.in_use_locked().bytes >> alloc::kPageShift);
  return Incomplete::kNo;
}

Incomplete MarkCycle::collect_roots(const Job& job) noexcept {
  if (surroundings_ == nullptr) return Incomplete::kNo;
  MetaVector<AddressRange> never;
  const auto reserved = heap_.reserved();
  bool fits = never.push_back({reserved.begin, reserved.begin + reserved.bytes});
  const alloc::MetaRange tool = alloc::meta_range();
  fits = fits && never.push_back({tool.begin, tool.end}) && never.push_back(job.own_stack) &&
         never.push_back(World::memory());
  for (const AddressRange& range : surroundings_->never) fits = fits && never.push_back(range);
  if (!fits) return Incomplete::kNoMemory;
  const auto in_use = heap_.in_use_locked();
  const MetaVector<AddressRange>& registered = user_roots_.ranges_locked();
  job.verdict.threads = static_cast<unsigned>(pauses_.world().threads().size());
  StoppedThread self = calling_thread(job.stack_pointer);
  if (const std::uintptr_t live = job.settings.live_stack; live != 0) {
    self.stack_pointer = self.registers_begin = self.registers_end = live;
  }
  return roots_.collect_world_stopped(job.settings.roots, pauses_.world().threads(), self, *surroundings_->threads,
                                      {never.begin(), never.size()}, {in_use.begin, in_use.begin + in_use.bytes},
                                      {registered.begin(), registered.size()}, pagemap_);
}

// An annotation that is made meanwhile is counted before it takes effect.
void MarkCycle::mark_annotated(std::size_t page_end) noexcept {
  annotations_ = heap_.annotations();
  if (annotations_ != 0) marker_.mark_annotated(page_end);
}

void MarkCycle::mark_roots(const Job& job) noexcept {
  job.verdict.root_bytes = 0;
  const auto mark_root = [&](AddressRange range, bool closed) {
    job.verdict.root_bytes += range.end - range.begin;
    closed ? marker_.mark_closed_range(range) : marker_.mark_range(range);
  };
  for (const RootRange& root : roots_.roots()) mark_root(root.range, root.closed);
  if (surroundings_ != nullptr) return;
  for (const AddressRange& range : user_roots_.ranges_locked()) mark_root(range, false);
}

bool MarkCycle::mark_inherited(std::uint32_t before) noexcept {
  OrphanList unreached;
  if (!find_white(heap_, marker_.page_end(), marker_.epoch(), unreached)) return false;
  const std::uint32_t least_age = std::min<std::uint32_t>(stamp_ - before + 1, alloc::Birth::kOldestAge);
  for (const Orphan& orphan : unreached) {
    if (orphan.birth.age(stamp_) >= least_age) marker_.mark_object(orphan.object);
  }
  marker_.drain();
  return true;
}

Incomplete MarkCycle::mark_held(const MarkSettings& settings, const OrphanList& orphans, bool (*is_held)(const Orphan&),
                                Verdict& verdict) noexcept {
  const Pause pause(pauses_, settings.stop, verdict, [] { return true; });
  if (!pause.is_stopped()) return pause.problem();
  for (const Orphan& orphan : orphans) {
    if (is_held(orphan) && orphan.is_same_object()) marker_.mark_object(orphan.object);
  }
  marker_.drain();
  return marker_.has_missed() ? Incomplete::kClosedMemory : Incomplete::kNo;
}

Incomplete MarkCycle::find_retainers(const MarkSettings& settings, std::uintptr_t word, std::uintptr_t stack_pointer,
                                     AddressRange own_stack, Retainers& found) noexcept {
  marker_.set_forms(settings.forms);
  pauses_.set_alone(alloc::os_thread_count() == 1);
  if (const Incomplete problem = roots_.prepare(pauses_.is_alone()); problem != Incomplete::kNo) return problem;
  Pace pace(settings.pace);
  Verdict verdict;
  const Job job{settings, pace, stack_pointer, own_stack, verdict};
  bool has_memory = true;
  const Pause pause(pauses_, settings.stop, verdict, [&] { return has_memory = marker_.begin_locked(); });
  found.incomplete_thread = verdict.incomplete_thread;
  if (!pause.is_stopped()) return has_memory ? pause.problem() : Incomplete::kNoMemory;
  pagemap_.open(Pagemap::Beside::kStoppedWorld);
  Incomplete problem = collect_roots(job);
  pagemap_.close();
  marker_.set_closed(roots_.closed_heap());
  if (problem == Incomplete::kNo) {
    RetainerSearch search(heap_, marker_, roots_.roots());
    if (!search.run(word, alloc::os_thread_id(), found)) problem = Incomplete::kNoMemory;
  }
  return problem;
}

}  // namespace arenascan::scan
