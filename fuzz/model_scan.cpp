#include <algorithm>

#include "fuzz/model.h"
#include "fuzz/require.h"

namespace arenascan::fuzz {

std::size_t Model::find(std::uintptr_t word) const {
  const auto behind = by_address_.upper_bound(word);
  if (behind == by_address_.begin()) return kObjects;
  const std::size_t number = std::prev(behind)->second;
  const Object& object = objects_[number];
  const bool is_empty_array = object.bytes == sizeof(word) && object.words.empty();  // `new T[0]`
  return word - object.address < std::max<std::size_t>(object.bytes, 1) + is_empty_array ? number : kObjects;
}

// Adds what can be reached from some objects, themselves among them. What is in the set already is not gone through.
void Model::spread(const Set& from, Set& reached) const {
  std::vector<std::size_t> left;
  for (std::size_t number = 0; number < kObjects; ++number) {
    if (from[number]) left.push_back(number);
  }
  reached |= from;
  while (!left.empty()) {
    const Object& object = objects_[left.back()];
    left.pop_back();
    if ((object.policy & (alloc::state::kNoScan | alloc::state::kIgnored)) != 0) continue;
    for (const auto& [position, word] : object.words) {
      if ((position + 1) * sizeof(word) > object.bytes) continue;
      const std::size_t number = find(word);
      if (number == kObjects || reached[number]) continue;
      reached.set(number);
      left.push_back(number);
    }
  }
}

Model::Set Model::reached() const {
  Set live;
  for (const std::uintptr_t root : roots_) {
    if (const std::size_t number = find(root); number != kObjects) live.set(number);
  }
  for (const auto& [address, number] : by_address_) {
    if ((objects_[number].policy & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0) live.set(number);
  }
  Set reached;
  spread(live, reached);
  return reached;
}

scan::Count Model::count(const Set& objects) const {
  scan::Count count;
  for (std::size_t number = 0; number < kObjects; ++number) {
    if (!objects[number]) continue;
    ++count.objects;
    count.bytes += objects_[number].bytes;
  }
  return count;
}

Model::ScanPlan::ScanPlan(const trace::Record& record) {
  constexpr unsigned kMostBeside = 16;
  constexpr unsigned kMostScans = 4;
  Extra extra(record);
  beside = extra.below(kMostBeside);
  min_unref_scans = std::max(1U, extra.below(kMostScans));
  births = static_cast<Births>(extra.below(4));
  suppressed = extra.below(1U << (kStacks - 1));
  cancelled = extra.below(4);
  forgets = extra.below(2) != 0;
}

scan::ScanSettings Model::settings() {
  if (plan_.births == ScanPlan::Births::kMarkNow) time_ = scanner_.mark_time();
  scan::ScanSettings settings;
  settings.second_look_ns = beside_.empty() ? 0 : 1;
  settings.min_unref_scans = static_cast<std::uint16_t>(plan_.min_unref_scans);
  settings.born_since = plan_.births == ScanPlan::Births::kSince ? time_ : 0;
  settings.born_before = plan_.births == ScanPlan::Births::kBefore ? time_ : 0;
  settings.list_objects = true;
  if (plan_.suppressed != 0) {
    settings.suppress_argument = &plan_;
    settings.is_suppressed = [](alloc::StackId stack, void* plan) {
      return (static_cast<ScanPlan*>(plan)->suppressed << 1 >> stack & 1) != 0;
    };
  }
  settings.mark.pace.argument = this;
  settings.mark.pace.go_on = [](const scan::Progress&, void* model) {
    return static_cast<Model*>(model)->answer_question();
  };
  return settings;
}

std::uint32_t Model::next_stamp() const {
  const std::uint32_t next = heap_.stamp() + 1;
  return next + (static_cast<std::uint16_t>(next) == alloc::Birth::kOld ? 1 : 0);
}

void Model::scan() {
  if (forgets_) forget_leaks();
  const scan::ScanSettings settings = this->settings();
  const std::uint32_t now = next_stamp();
  const bool recalls = now - marked_at_ < alloc::Birth::kOldestAge;
  marked_at_ = now;
  const Set reached = this->reached();
  Set there;
  std::size_t known = 0;
  for (const auto& [address, number] : by_address_) {
    Object& object = objects_[number];
    there.set(number);
    object.is_orphan = !reached[number];
    if (reached[number] || !recalls || !is_the_same(object)) {
      object.is_reported = false;
      object.scans_at_rest = 0;
      object.looked.reset();
    }
    object.marked_stack = object.stack;
    known += object.is_reported ? 1 : 0;
  }
  const scan::Count seen = count(there);
  const scan::Count kept = count(reached);
  const std::size_t recovered = reported_ - known;
  reported_ = known;

  beside_left_ = 0;
  looks_ = 0;
  scans_now_ = true;
  scan::Verdict verdict;
  scanner_.scan(settings, verdict);
  scans_now_ = false;

  require(heap_.stamp() == now);
  require(verdict.reached.objects == kept.objects && verdict.reached.bytes == kept.bytes);
  require(verdict.orphans.objects == seen.objects - kept.objects && verdict.orphans.bytes == seen.bytes - kept.bytes);
  require(verdict.seen.objects == seen.objects && verdict.seen.bytes == seen.bytes);
  is_whole_ = verdict.incomplete != scan::Incomplete::kCancelled;
  if (!is_whole_) {
    check_cancelled(verdict);
  } else {
    require(verdict.incomplete == scan::Incomplete::kNo);
    require(verdict.recovered.objects == recovered);
    const Expected expected = expect();
    check_verdict(verdict, expected);
    note_standings(expected);
  }
  check_descriptions();
  for (Object& object : objects_) {
    if (object.has_changed) object.looked.reset();
    object.is_young = object.has_changed = false;
  }
  play_beside(beside_.size());
  forgets_ = plan_.forgets;
}

// Asked when the mark is made, and again before what is new is looked at for the second time.
bool Model::answer_question() {
  if (++looks_ == plan_.cancelled) return false;
  const std::size_t half = beside_.size() / 2;
  play_beside(looks_ == 1 ? half : beside_.size());
  look(looks_ != 1);
  return true;
}

// As many of the records as are left in front of `end`.
void Model::play_beside(std::size_t end) {
  const std::size_t count = std::min(end, beside_.size());
  const std::vector<trace::Record> records(beside_.begin(), beside_.begin() + static_cast<std::ptrdiff_t>(count));
  beside_.erase(beside_.begin(), beside_.begin() + static_cast<std::ptrdiff_t>(count));
  for (const trace::Record& record : records) {
    if (record.op != trace::Op::kScan) play_now(record);
  }
}

// A leak that is known is not looked at; one of which an earlier scan knows the contents, only once.
void Model::look(bool again) {
  reported_ = 0;
  for (Object& object : objects_) {
    reported_ += object.is_orphan && object.is_reported ? 1 : 0;
    if (!object.is_orphan || object.is_reported) continue;
    std::pair now(object.bytes, object.words);
    if (again && !object.is_new) continue;
    if (!again) object.is_new = !object.looked;
    object.has_changed = object.has_changed || (object.looked && *object.looked != now);
    object.looked = std::move(now);
  }
}

// What changed between two looks, and what that leads to, is no leak; nor is what is suppressed, and what that leads
// to.
Model::Expected Model::expect() const {
  Expected expected;
  Set orphans;
  Set changed;
  for (std::size_t number = 0; number < kObjects; ++number) {
    orphans[number] = objects_[number].is_orphan;
    changed[number] = objects_[number].has_changed;
  }
  Set held = ~orphans;
  spread(changed, held);
  expected.changed = held & orphans;
  for (std::size_t number = 0; number < kObjects; ++number) {
    expected.suppressed[number] = !held[number] && (plan_.suppressed << 1 >> objects_[number].stack & 1) != 0;
  }
  spread(expected.suppressed, held);
  expected.held_by_suppressed = held & orphans & ~expected.changed;
  expected.at_rest = ~held;
  return expected;
}

// In scans and marks; more than some is not known.
std::uint32_t Model::age(const Object& object) const {
  return std::min<std::uint32_t>(heap_.stamp() - object.born, alloc::Birth::kOldestAge);
}

bool Model::is_wanted(const Object& object) const {
  return plan_.births != ScanPlan::Births::kSince || age(object) <= heap_.stamp() - time_;
}

bool Model::is_due(const Object& object) const {
  const bool is_old = plan_.births != ScanPlan::Births::kBefore || time_ == 0 || age(object) > heap_.stamp() - time_;
  return is_old && object.scans_at_rest >= plan_.min_unref_scans;
}

// It claims nothing, and keeps what was known and has not been found otherwise.
void Model::check_cancelled(const scan::Verdict& verdict) const {
  require(looks_ == plan_.cancelled);
  require(verdict.direct.objects == 0 && verdict.indirect.objects == 0 && verdict.fresh.objects == 0);
  require(verdict.recovered.objects == 0 && verdict.leaks.empty() && verdict.objects.empty());
}

void Model::check_verdict(const scan::Verdict& verdict, const Expected& expected) {
  const auto is_same = [this](const scan::Count& told, const Set& objects) {
    const scan::Count right = count(objects);
    return told.objects == right.objects && told.bytes == right.bytes;
  };
  Set leaks;
  Set fresh;
  reported_ = 0;
  for (std::size_t number = 0; number < kObjects; ++number) {
    Object& object = objects_[number];
    object.scans_at_rest = expected.at_rest[number] ? object.scans_at_rest + 1 : 0;
    const bool is_leak = expected.at_rest[number] && is_due(object);
    leaks[number] = is_leak && is_wanted(object);
    fresh[number] = leaks[number] && !object.is_reported;
    object.is_reported = is_leak;
    reported_ += is_leak ? 1 : 0;
  }
  require(is_same(verdict.changed, expected.changed));
  require(is_same(verdict.suppressed, expected.held_by_suppressed));
  require(is_same(verdict.fresh, fresh));
  check_leaks(verdict, expected.at_rest, leaks);

  Groups changed;
  Groups suppressed;
  for (std::size_t number = 0; number < kObjects; ++number) {
    const Object& object = objects_[number];
    if (expected.changed[number]) add_to(changed, object, object.has_changed);
    if (expected.suppressed[number]) add_to(suppressed, object, true);
  }
  check_groups(verdict.changed_groups, changed);
  check_groups(verdict.suppressed_groups, suppressed);
}

void Model::note_standings(const Expected& expected) {
  for (const auto& [address, number] : by_address_) {
    Object& object = objects_[number];
    object.standing = object.is_young                       ? Standing::kBornLater
                      : !object.is_orphan                   ? Standing::kReached
                      : object.is_reported                  ? Standing::kLeaked
                      : expected.at_rest[number]            ? Standing::kNotDue
                      : expected.held_by_suppressed[number] ? Standing::kSuppressed
                      : object.has_changed                  ? Standing::kChanged
                                                            : Standing::kHeldByChanged;
  }
}

// What the scanner tells of each object. When its last mark is too long ago, it cannot tell what is older than that.
void Model::check_descriptions() {
  for (const auto& [address, number] : by_address_) {
    const Object& object = objects_[number];
    scan::Description told;
    require(scanner_.describe(address, told));
    require(told.address == address && told.bytes == object.bytes && told.slot_bytes >= object.bytes);
    require((told.state & alloc::state::kPolicyMask) == object.policy);
    require(told.stack == object.stack && told.age == age(object));
    if (heap_.stamp() - marked_at_ >= alloc::Birth::kOldestAge) continue;
    require(told.standing == (!is_whole_                                 ? Standing::kNeverScanned
                              : object.is_orphan && !is_the_same(object) ? Standing::kReached
                                                                         : object.standing));
  }
}

void Model::forget_leaks() {
  scanner_.forget_leaks();
  if (heap_.stamp() - marked_at_ >= alloc::Birth::kOldestAge) return;  // it cannot tell them from others
  for (Object& object : objects_) {
    if (!object.is_reported || !is_the_same(object)) continue;
    object.policy |= alloc::state::kNotLeak;
    object.is_reported = false;
    object.standing = Standing::kSuppressed;
    --reported_;
  }
}

}  // namespace arenascan::fuzz
