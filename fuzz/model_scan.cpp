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
void Model::spread(std::vector<std::size_t> from, Set& reached) const {
  for (const std::size_t number : from) reached[number] = true;
  while (!from.empty()) {
    const Object& object = objects_[from.back()];
    from.pop_back();
    if ((object.policy & (alloc::state::kNoScan | alloc::state::kIgnored)) != 0) continue;
    for (const auto& [position, word] : object.words) {
      const std::size_t number = find(word);
      if (number == kObjects || reached[number]) continue;
      reached[number] = true;
      from.push_back(number);
    }
  }
}

Model::Set Model::reached() const {
  std::vector<std::size_t> live;
  for (const std::uintptr_t root : roots_) {
    if (const std::size_t number = find(root); number != kObjects) live.push_back(number);
  }
  for (const auto& [address, number] : by_address_) {
    if ((objects_[number].policy & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0) live.push_back(number);
  }
  Set reached{};
  spread(std::move(live), reached);
  return reached;
}

// How many groups of leaks that reach each other there are which no other one leads to.
std::size_t Model::count_direct(const Set& leaks) const {
  Set others;
  std::transform(leaks.begin(), leaks.end(), others.begin(), std::logical_not());
  std::vector<std::size_t> lost;
  std::vector<Set> leads_to;
  for (std::size_t number = 0; number < kObjects; ++number) {
    if (!leaks[number]) continue;
    lost.push_back(number);
    spread({number}, leads_to.emplace_back(others));
  }
  std::size_t direct = 0;
  for (std::size_t a = 0; a < lost.size(); ++a) {
    bool is_first = true;
    for (std::size_t b = 0; b < lost.size(); ++b) {
      if (!leads_to[b][lost[a]]) continue;
      if (!leads_to[a][lost[b]] || b < a) is_first = false;
    }
    direct += is_first ? 1 : 0;
  }
  return direct;
}

void Model::scan() {
  const Set reached = this->reached();
  scan::Count kept;
  scan::Count lost;
  std::size_t known = 0;
  for (const auto& [address, number] : by_address_) {
    Object& object = objects_[number];
    scan::Count& count = reached[number] ? kept : lost;
    ++count.objects;
    count.bytes += object.bytes;
    object.is_orphan = !reached[number];
    if (reached[number]) {
      object.is_reported = false;
      object.looked.reset();
    }
    known += object.is_reported ? 1 : 0;
  }
  const scan::Count seen{by_address_.size(), bytes_};

  scan::ScanSettings settings;
  settings.second_look_ns = beside_.empty() ? 0 : 1;
  settings.mark.pace.argument = this;
  settings.mark.pace.go_on = [](const scan::Progress&, void* model) {
    static_cast<Model*>(model)->play_beside();
    return true;
  };
  beside_left_ = 0;
  looks_ = 0;
  scans_now_ = true;
  scan::Verdict verdict;
  scanner_.scan(settings, verdict);
  scans_now_ = false;
  beside_.clear();

  require(verdict.incomplete == scan::Incomplete::kNo);
  require(verdict.reached.objects == kept.objects && verdict.reached.bytes == kept.bytes);
  require(verdict.orphans.objects == lost.objects && verdict.orphans.bytes == lost.bytes);
  require(verdict.seen.objects == seen.objects && verdict.seen.bytes == seen.bytes);
  require(verdict.recovered.objects == reported_ - known);
  check_leaks(verdict);
  check_descriptions();
  for (Object& object : objects_) object.is_young = object.has_changed = false;
}

// Called when the mark is made, and again before what is new is looked at for the second time.
void Model::play_beside() {
  const std::size_t half = beside_.size() / 2;
  const std::size_t end = looks_ == 0 ? half : beside_.size();
  for (std::size_t i = looks_ == 0 ? 0 : half; i < end; ++i) {
    if (beside_[i].op != trace::Op::kScan) play_now(beside_[i]);
  }
  look(looks_++ != 0);
}

// A leak that is known is not looked at; one of which an earlier scan knows the contents, only once.
void Model::look(bool again) {
  for (Object& object : objects_) {
    if (!object.is_orphan || object.is_reported) continue;
    std::pair now(object.bytes, object.words);
    if (again && !object.is_new) continue;
    if (!again) object.is_new = !object.looked;
    object.has_changed = object.has_changed || (object.looked && *object.looked != now);
    object.looked = std::move(now);
  }
}

// What changed between two looks, and what that leads to, is no leak.
void Model::check_leaks(const scan::Verdict& verdict) {
  std::vector<std::size_t> changed;
  Set held;
  for (std::size_t number = 0; number < kObjects; ++number) {
    held[number] = !objects_[number].is_orphan;
    if (objects_[number].has_changed) changed.push_back(number);
  }
  spread(std::move(changed), held);

  Set leaks{};
  scan::Count changed_or_held;
  scan::Count leaked;
  std::size_t fresh = 0;
  for (std::size_t number = 0; number < kObjects; ++number) {
    Object& object = objects_[number];
    if (object.has_changed) object.looked.reset();
    if (object.is_orphan) {
      leaks[number] = !held[number];
      scan::Count& count = held[number] ? changed_or_held : leaked;
      ++count.objects;
      count.bytes += object.bytes;
      fresh += leaks[number] && !object.is_reported ? 1 : 0;
      object.is_reported = leaks[number];
    }
  }
  require(verdict.changed.objects == changed_or_held.objects && verdict.changed.bytes == changed_or_held.bytes);
  require(verdict.direct.objects == count_direct(leaks));
  require(verdict.direct.objects + verdict.indirect.objects == leaked.objects);
  require(verdict.direct.bytes + verdict.indirect.bytes == leaked.bytes);
  require(verdict.fresh.objects == fresh);
  reported_ = leaked.objects;
}

// What the scanner tells of each object afterwards.
void Model::check_descriptions() {
  using Standing = scan::Description::Standing;
  for (const auto& [address, number] : by_address_) {
    const Object& object = objects_[number];
    scan::Description told;
    require(scanner_.describe(address, told));
    require(told.address == address && told.bytes == object.bytes && told.slot_bytes >= object.bytes);
    require((told.state & alloc::state::kPolicyMask) == object.policy);
    require(told.standing == (object.is_young      ? Standing::kBornLater
                              : !object.is_orphan  ? Standing::kReached
                              : object.is_reported ? Standing::kLeaked
                              : object.has_changed ? Standing::kChanged
                                                   : Standing::kHeldByChanged));
  }
}

}  // namespace arenascan::fuzz
