#include "scan/scanner.h"

#include <algorithm>
#include <array>

#include "alloc/meta_alloc.h"
#include "alloc/os.h"

namespace arenascan::scan {

using alloc::MetaVector;
using alloc::os_monotonic_ns;

namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;

Count count_reported(const OrphanList& orphans) noexcept {
  Count count;
  for (const Orphan& orphan : orphans) {
    if (!orphan.reported) continue;
    ++count.objects;
    count.bytes += orphan.bytes;
  }
  return count;
}

// Whether a leak counts, by its age and by how often it has been seen. `now` is the stamp of the scan.
bool is_wanted(const Orphan& orphan, const ScanSettings& settings, std::uint32_t now) noexcept {
  const std::uint32_t age = orphan.birth.age(now);
  return settings.born_since == 0 || age <= now - settings.born_since;
}
bool is_due(const Orphan& orphan, const ScanSettings& settings, std::uint32_t now) noexcept {
  const bool is_old = settings.born_before == 0 || orphan.birth.age(now) > now - settings.born_before;
  return is_old && orphan.scans_at_rest >= settings.min_unref_scans;
}

// A scan holds on to pages while the program gives them back.
class KeptDescriptors {
 public:
  explicit KeptDescriptors(alloc::HeapView heap) noexcept : heap_(heap) { keep(true); }
  ~KeptDescriptors() { keep(false); }
  KeptDescriptors(const KeptDescriptors&) = delete;
  KeptDescriptors& operator=(const KeptDescriptors&) = delete;

 private:
  void keep(bool wanted) noexcept {
    const std::scoped_lock guard(heap_);
    heap_.keep_descriptors_locked(wanted);
  }
  alloc::HeapView heap_;
};

}  // namespace

bool Scanner::prepare_stack() noexcept {
  if (stack_.begin != 0) return true;
  void* const memory = alloc::os_reserve(kStackBytes, alloc::kOsPageBytes);
  if (memory == nullptr) return false;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  // The lowest page stays inaccessible.
  if (!alloc::os_commit(reinterpret_cast<void*>(begin + alloc::kOsPageBytes), kStackBytes - alloc::kOsPageBytes)) {
    alloc::os_release(memory, kStackBytes);
    return false;
  }
  stack_ = {begin, begin + kStackBytes};
  return true;
}

void Scanner::scan(const ScanSettings& settings, Verdict& verdict) noexcept {
  const std::scoped_lock guard(mutex_);
  verdict = Verdict{};
  if (!is_process_) {
    run(settings, 0, verdict);
    return;
  }
  if (!call_on_own_stack([&](std::uintptr_t stack_pointer) { run(settings, stack_pointer, verdict); })) {
    verdict.incomplete = Incomplete::kNoMemory;
  }
}

void Scanner::find_retainers(const ScanSettings& settings, std::uintptr_t word, Retainers& found) noexcept {
  const std::scoped_lock guard(mutex_);
  const auto body = [&](std::uintptr_t stack_pointer) {
    const KeptDescriptors kept(heap_);
    found.incomplete = alloc::meta_prepare() ? cycle_.find_retainers(settings.mark, word, stack_pointer, stack_, found)
                                             : Incomplete::kNoMemory;
  };
  if (!call_on_own_stack(body)) found.incomplete = Incomplete::kNoMemory;
}

bool Scanner::describe(std::uintptr_t word, Description& known) noexcept {
  using Standing = Description::Standing;
  const std::scoped_lock guard(mutex_);
  const KeptDescriptors kept(heap_);
  alloc::Object object;
  if (!heap_.find(word, object)) return false;
  const alloc::Birth birth = object.birth();
  known.address = object.address();
  known.bytes = object.bytes();
  known.slot_bytes = object.page->slot_bytes;
  known.state = object.state();
  known.stack = birth.stack;
  known.age = birth.age(heap_.stamp());
  if (!is_whole_) return true;
  const std::uint32_t marks = heap_.stamp() - cycle_.stamp();
  known.standing = known.age > marks                      ? Standing::kReached
                   : known.age < alloc::Birth::kOldestAge ? Standing::kBornLater
                                                          : Standing::kLongAgo;
  const bool is_declared = (known.state & alloc::state::kNotLeak) != 0;
  for (const Orphan& orphan : orphans_) {
    if (!(orphan.object == object) || !is_still(orphan, birth)) continue;
    known.standing = orphan.reported                 ? Standing::kLeaked
                     : orphan.scans_at_rest != 0     ? Standing::kNotDue
                     : orphan.at_rest && is_declared ? Standing::kForgotten
                     : orphan.at_rest                ? Standing::kSuppressed
                     : orphan.changed                ? Standing::kChanged
                                                     : Standing::kHeldByChanged;
    known.is_hashed = orphan.hashed;
    known.checksum = orphan.checksum;
  }
  return true;
}

// False: there is no stack.
template <typename Body>
bool Scanner::call_on_own_stack(Body body) noexcept {
  if (!prepare_stack()) return false;
  call_with_registers_saved(
      [](std::uintptr_t stack_pointer, void* wanted) { (*static_cast<Body*>(wanted))(stack_pointer); }, &body,
      stack_.end);
  return true;
}

// An old birth tells what was there at the last mark only where that is not as long ago.
bool Scanner::is_still(const Orphan& orphan, const alloc::Birth& birth) const noexcept {
  const std::uint32_t now = heap_.stamp();
  return birth.can_be(orphan.birth) && birth.age(now) > now - orphans_stamp_;
}

void Scanner::forget_leaks() noexcept {
  const std::scoped_lock guard(mutex_);
  const KeptDescriptors kept(heap_);
  for (Orphan& orphan : orphans_) {
    alloc::Object object;
    if (!orphan.reported || !heap_.find(orphan.address, object)) continue;
    if (object.address() != orphan.address || !is_still(orphan, object.birth())) continue;
    heap_.add_policy(object, alloc::state::kNotLeak);
    orphan.reported = false;
    orphan.scans_at_rest = 0;
    orphan.at_rest = true;
  }
}

std::uint32_t Scanner::mark_time() noexcept {
  const std::scoped_lock heap(heap_);
  heap_.age_births_locked();
  return heap_.advance_stamp_locked();
}

void Scanner::run(const ScanSettings& settings, std::uintptr_t stack_pointer, Verdict& verdict) noexcept {
  const std::uint64_t began = os_monotonic_ns();
  const KeptDescriptors kept(heap_);
  Incomplete problem = alloc::meta_prepare() ? Incomplete::kNo : Incomplete::kNoMemory;
  Pace pace(settings.mark.pace);
  if (problem == Incomplete::kNo) problem = mark_phase(settings, pace, stack_pointer, verdict);

  if (problem == Incomplete::kNo && !pace.go_on(Phase::kClassify, verdict.reached)) problem = Incomplete::kCancelled;
  const std::uint64_t classify_began = os_monotonic_ns();
  if (problem == Incomplete::kNo) problem = look_phase(settings, pace, verdict);
  if (problem == Incomplete::kNo) problem = hold_phase(settings, verdict);
  if (problem == Incomplete::kNo) problem = suppress_phase(settings, verdict);
  if (problem == Incomplete::kNo) problem = classify_phase(settings, verdict);
  verdict.classify_ns = os_monotonic_ns() - classify_began;
  verdict.total_ns = os_monotonic_ns() - began;
  verdict.incomplete = problem;
  is_whole_ = problem == Incomplete::kNo;
  if (problem == Incomplete::kNo) return;
  // A verdict that is not whole claims nothing.
  verdict.direct = verdict.indirect = verdict.fresh = verdict.recovered = Count{};
  verdict.leaks.clear();
  verdict.objects.clear();
}

Incomplete Scanner::mark_phase(const ScanSettings& settings, Pace& pace, std::uintptr_t stack_pointer,
                               Verdict& verdict) noexcept {
  OrphanList found;
  const Incomplete problem = cycle_.run(settings.mark, pace, stack_pointer, stack_, verdict, found);
  if (problem != Incomplete::kNo) return problem;
  const Count known = count_reported(orphans_);
  recall(found, orphans_, cycle_.stamp() - orphans_stamp_);
  const Count still = count_reported(found);
  verdict.recovered = {known.objects - still.objects, known.bytes - still.bytes};
  orphans_ = std::move(found);
  orphans_stamp_ = cycle_.stamp();
  for (const Orphan& orphan : orphans_) {
    ++verdict.orphans.objects;
    verdict.orphans.bytes += orphan.bytes;
  }
  verdict.seen.objects = verdict.reached.objects + verdict.orphans.objects;
  verdict.seen.bytes = verdict.reached.bytes + verdict.orphans.bytes;
  return Incomplete::kNo;
}

Incomplete Scanner::look_phase(const ScanSettings& settings, Pace& pace, const Verdict& verdict) noexcept {
  const auto look_at = [this](auto&& wanted) {
    std::size_t kept = 0;
    const auto fetch = [&](const Orphan& orphan) {
      fetch_standing(orphan);
      if (wanted(orphan)) fetch_contents(orphan);
    };
    for_each_fetched(orphans_, fetch, [&](Orphan& orphan) {
      const bool is_there = wanted(orphan) ? look(orphan, cycle_.marker()) : orphan.is_same_object();
      if (is_there) orphans_[kept++] = orphan;  // else freed meanwhile: somebody had it
    });
    orphans_.truncate(kept);
  };
  const std::size_t known = static_cast<std::size_t>(
      std::count_if(orphans_.begin(), orphans_.end(), [](const Orphan& orphan) { return orphan.hashed; }));
  const bool has_new = known != orphans_.size();
  for (Orphan& orphan : orphans_) orphan.fresh_look = !orphan.hashed;
  // A leak that is known is not hashed again: it was at rest when it became one.
  look_at([](const Orphan& orphan) { return !orphan.reported; });
  if (!has_new || settings.second_look_ns == 0) return Incomplete::kNo;
  alloc::os_sleep_ns(settings.second_look_ns);
  if (!pace.go_on(Phase::kClassify, verdict.reached)) return Incomplete::kCancelled;
  look_at([](const Orphan& orphan) { return orphan.fresh_look; });
  return Incomplete::kNo;
}

Incomplete Scanner::hold_phase(const ScanSettings& settings, Verdict& verdict) noexcept {
  const auto changed = [](const Orphan& orphan) { return orphan.changed; };
  if (std::none_of(orphans_.begin(), orphans_.end(), changed)) return Incomplete::kNo;
  return cycle_.mark_held(settings.mark, orphans_, changed, verdict);
}

// What is suppressed is a root for what it holds, so that nothing of a known leak is left to report.
Incomplete Scanner::suppress_phase(const ScanSettings& settings, Verdict& verdict) noexcept {
  bool has_any = false;
  for (Orphan& orphan : orphans_) {
    orphan.at_rest = settings.is_suppressed != nullptr && is_white(orphan);
    orphan.suppressed = orphan.at_rest && settings.is_suppressed(orphan.birth.stack, settings.suppress_argument);
    has_any = has_any || orphan.suppressed;
  }
  if (!has_any) return Incomplete::kNo;
  return cycle_.mark_held(
      settings.mark, orphans_, [](const Orphan& orphan) { return orphan.suppressed; }, verdict);
}

Incomplete Scanner::classify_phase(const ScanSettings& settings, Verdict& verdict) noexcept {
  OrphanList at_rest;
  MetaVector<std::uint8_t> direct;
  GroupBuilder leaks;
  GroupBuilder changed;
  GroupBuilder suppressed;
  bool fits = true;
  for_each_fetched(orphans_, fetch_standing, [&](Orphan& orphan) {
    if (is_white(orphan)) {
      if (orphan.scans_at_rest != UINT16_MAX) ++orphan.scans_at_rest;
      fits = fits && at_rest.push_back(orphan);
      return;
    }
    orphan.scans_at_rest = 0;
    Count& count = orphan.at_rest ? verdict.suppressed : verdict.changed;
    ++count.objects;
    count.bytes += orphan.bytes;
    if (!orphan.at_rest) fits = fits && changed.add(orphan, orphan.changed);
    if (orphan.suppressed) fits = fits && suppressed.add(orphan, true);
  });
  OrphanGraph graph;
  if (!fits || !graph.build(heap_, cycle_.marker(), at_rest) || !find_direct(graph, direct))
    return Incomplete::kNoMemory;

  const std::uint32_t now = cycle_.stamp();
  for (std::size_t i = 0; i < at_rest.size(); ++i) {
    const Orphan& orphan = at_rest[i];
    if (!is_wanted(orphan, settings, now) || !is_due(orphan, settings, now)) continue;
    Count& count = direct[i] != 0 ? verdict.direct : verdict.indirect;
    ++count.objects;
    count.bytes += orphan.bytes;
    if (!orphan.reported) {
      ++verdict.fresh.objects;
      verdict.fresh.bytes += orphan.bytes;
    }
    const bool is_direct = direct[i] != 0;
    fits = leaks.add(orphan, is_direct);
    if (fits && settings.list_objects) {
      fits = verdict.objects.push_back({orphan.birth.stack, is_direct, orphan.address, orphan.bytes});
    }
    if (!fits) return Incomplete::kNoMemory;
  }
  verdict.leaks = leaks.finish();
  verdict.changed_groups = changed.finish();
  verdict.suppressed_groups = suppressed.finish();
  for (Orphan& orphan : orphans_) {
    orphan.reported = orphan.scans_at_rest != 0 && is_due(orphan, settings, now);
  }
  return Incomplete::kNo;
}

}  // namespace arenascan::scan
