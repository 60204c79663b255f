#include "fuzz/model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fuzz/require.h"

namespace arenascan::fuzz {

using trace::Op;
using trace::Record;

namespace {

constexpr std::size_t kWordBytes = sizeof(std::uintptr_t);
constexpr std::size_t kReserveBytes = std::size_t{64} << 20;

std::size_t size_of(std::uint64_t value) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 20;
  return value <= kMost ? value : (value >> 8) % 512;
}

std::size_t alignment_of(const Record& record) {
  constexpr unsigned kMostBits = 16;
  return std::size_t{1} << (record.detail <= kMostBits ? record.detail : record.detail % 8);
}

void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

Model::Model() : scanner_(heap_, user_roots_, nullptr) {
  require(heap_.init(kReserveBytes));
  const auto begin = reinterpret_cast<std::uintptr_t>(roots_.data());
  require(user_roots_.add({begin, begin + sizeof(roots_)}));
}

Model::~Model() { heap_.destroy(); }

void Model::play(const Record& record) {
  Thread& by = thread(record);
  switch (record.op) {
    case Op::kMalloc: return allocate(record, size_of(record.value), 1);
    case Op::kCalloc: return allocate(record, size_of((record.other % 64) * size_of(record.value)), 1);
    case Op::kRealloc: return resize(record);
    case Op::kMemalign:
    case Op::kNew:
    case Op::kNewArray: return allocate(record, size_of(record.value), alignment_of(record));
    case Op::kFree:
    case Op::kDelete:
    case Op::kDeleteArray: return release(by, object(record.object));
    case Op::kStore: return store(record);
    case Op::kRoot: roots_[record.object % kRoots] = word_of(record); return;
    case Op::kScan: return scan();
    case Op::kNotLeak: return annotate(object(record.object), alloc::state::kNotLeak);
    case Op::kIgnore: return annotate(object(record.object), alloc::state::kIgnored);
    case Op::kNoScan: return annotate(object(record.object), alloc::state::kNoScan);
    case Op::kDisable: ++by.disabled; return;
    case Op::kEnable: by.disabled -= by.disabled == 0 ? 0 : 1; return;
    case Op::kStart: static_cast<void>(cache_of(threads_[record.other % kThreads])); return;
    case Op::kEnd: return end(by);
    case Op::kFork: require(heap_.is_valid()); return;
  }
}

bool Model::is_alone(const Record& record) {
  return record.op == Op::kRoot || record.op == Op::kScan || record.op == Op::kStart || record.op == Op::kFork;
}

void Model::finish() {
  scan();
  for (const Object& object : objects_) check_contents(object);
  require(heap_.is_valid());
  give_all_back();
}

// A page goes back when its owner has heard of the last free in it: if one went astray, a page stays.
void Model::give_all_back() {
  for (Object& object : objects_) release(threads_.back(), object);
  for (Thread& thread : threads_) end(thread);
  // The second time for frees that were on their way to an owner before.
  for (int round = 0; round < 2; ++round) {
    std::array<alloc::ThreadCache*, kThreads> idle;
    for (alloc::ThreadCache*& cache : idle) require((cache = heap_.acquire_cache()) != nullptr);
    for (alloc::ThreadCache* const cache : idle) heap_.release_cache(*cache);
  }
  require(heap_.taken_bytes() == 0);
}

alloc::ThreadCache& Model::cache_of(Thread& thread) {
  if (thread.cache == nullptr) require((thread.cache = heap_.acquire_cache()) != nullptr);
  return *thread.cache;
}

void Model::end(Thread& thread) {
  if (thread.cache != nullptr) heap_.release_cache(*thread.cache);
  thread = {};
}

void Model::allocate(const Record& record, std::size_t bytes, std::size_t alignment) {
  Object& made = object(record.object);
  if (made.address != 0 || !has_room(bytes)) return;
  Thread& by = thread(record);
  made.policy = by.disabled == 0 ? 0 : alloc::state::kNotLeak;
  void* const p = alignment <= alloc::kGranuleBytes && made.policy == 0
                      ? heap_.allocate(cache_of(by), bytes, heap_.birth(0))
                      : heap_
                            .allocate_slow(cache_of(by), bytes, std::max(alignment, alloc::kGranuleBytes),
                                           heap_.birth(0), made.policy)
                            .object;
  require(p != nullptr);
  made.address = reinterpret_cast<std::uintptr_t>(p);
  made.bytes = bytes;
  require(made.address % std::max(alignment, alloc::kGranuleBytes) == 0);
  std::memset(p, 0, bytes);
  const std::scoped_lock lock(mutex_);
  check_no_overlap(made);
  by_address_.emplace(made.address, static_cast<std::size_t>(&made - objects_.data()));
  bytes_ += bytes;
}

// As the C library's realloc: in place where that is possible, else to another place.
void Model::resize(const Record& record) {
  Object& old = object(record.other);
  Object& made = object(record.object);
  const std::size_t bytes = size_of(record.value);
  if (old.address == 0) return allocate(record, bytes, 1);
  if ((made.address != 0 && &made != &old) || !has_room(bytes)) return;
  check_contents(old);
  const auto keep = [bytes](Object& object) {
    object.words.erase(object.words.lower_bound(bytes / kWordBytes), object.words.end());
  };
  if (bytes != 0 && resize_in_place(old, bytes)) {
    std::memset(pointer(old.address), 0, bytes);
    keep(old);
    for (const auto& [position, word] : old.words) write(old, position, word);
    if (&made == &old) return;
    const std::scoped_lock lock(mutex_);
    made = std::exchange(old, {});
    by_address_[made.address] = static_cast<std::size_t>(&made - objects_.data());
    return;
  }
  Object from = old;
  release(thread(record), old);
  allocate(record, bytes, 1);
  if (made.address == 0) return;
  keep(from);
  made.words = std::move(from.words);
  for (const auto& [position, word] : made.words) write(made, position, word);
}

// What becomes smaller does so here first: what lies behind may be somebody else's at once.
bool Model::resize_in_place(Object& object, std::size_t bytes) {
  const std::size_t before = object.bytes;
  if (bytes < before) set_bytes(object, bytes);
  const bool is_resized = heap_.resize_in_place(pointer(object.address), bytes, 0);
  set_bytes(object, is_resized ? bytes : before);
  return is_resized;
}

void Model::set_bytes(Object& object, std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  bytes_ += bytes - object.bytes;
  object.bytes = bytes;
}

bool Model::has_room(std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  return bytes_ + bytes <= kMostBytes;
}

void Model::release(Thread& thread, Object& object) {
  if (object.address == 0) return;
  check_contents(object);
  void* const p = pointer(object.address);
  {
    const std::scoped_lock lock(mutex_);
    by_address_.erase(object.address);
    bytes_ -= object.bytes;
    object = {};
  }
  if (thread.cache == nullptr) {
    heap_.release(p);
  } else if (!heap_.release_quickly(*thread.cache, p)) {
    heap_.release(*thread.cache, p);
  }
}

void Model::store(const Record& record) {
  Object& into = object(record.object);
  const std::size_t words = into.bytes / kWordBytes;
  if (into.address == 0 || words == 0) return;
  const std::size_t position = record.low() / kWordBytes % words;
  const std::uintptr_t word = word_of(record);
  into.words.erase(position);
  if (word != 0) into.words.emplace(position, word);
  write(into, position, word);
}

void Model::annotate(Object& object, std::uint8_t policy) {
  if (object.address == 0) return;
  alloc::HeapView view(heap_);
  alloc::Object found;
  require(view.find(object.address, found));
  require(view.add_policy(found, policy));
  object.policy |= policy;
}

std::uintptr_t Model::word_of(const Record& record) {
  const Object& target = object(record.other);
  if (record.other == 0 || target.address == 0) return 0;
  return target.address + (target.bytes == 0 ? 0 : record.high() % target.bytes);
}

void Model::write(const Object& object, std::size_t position, std::uintptr_t word) {
  std::memcpy(pointer(object.address + position * kWordBytes), &word, kWordBytes);
}

void Model::check_contents(const Object& object) const {
  if (object.address == 0) return;
  require(heap_.requested_bytes(pointer(object.address)) == object.bytes);
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(object.address);
  std::size_t at = 0;
  const auto is_zero_to = [&](std::size_t end) {
    for (; at < end; ++at) require(bytes[at] == 0);
  };
  for (const auto& [position, word] : object.words) {
    is_zero_to(position * kWordBytes);
    require(std::memcmp(bytes + at, &word, kWordBytes) == 0);
    at += kWordBytes;
  }
  is_zero_to(object.bytes);
}

void Model::check_no_overlap(const Object& object) const {
  const auto end_of = [](const Object& o) { return o.address + std::max<std::size_t>(o.bytes, 1); };
  const auto next = by_address_.lower_bound(object.address);
  require(next == by_address_.end() || end_of(object) <= next->first);
  require(next == by_address_.begin() || end_of(objects_[std::prev(next)->second]) <= object.address);
}

std::size_t Model::find(std::uintptr_t word) const {
  const auto behind = by_address_.upper_bound(word);
  if (behind == by_address_.begin()) return kObjects;
  const std::size_t number = std::prev(behind)->second;
  const Object& object = objects_[number];
  const bool is_empty_array = object.bytes == kWordBytes && object.words.empty();  // `new T[0]`
  return word - object.address < std::max<std::size_t>(object.bytes, 1) + is_empty_array ? number : kObjects;
}

// Adds what can be reached from some objects, themselves among them.
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

// Of the objects that are not reached: how many groups that reach each other there are which no other one leads to.
std::size_t Model::count_direct(const Set& reached) const {
  std::vector<std::size_t> lost;
  std::vector<Set> leads_to;
  for (const auto& [address, number] : by_address_) {
    if (reached[number]) continue;
    lost.push_back(number);
    spread({number}, leads_to.emplace_back(Set{}));
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
  std::vector<std::size_t> live;
  for (const std::uintptr_t root : roots_) {
    if (const std::size_t number = find(root); number != kObjects) live.push_back(number);
  }
  for (const auto& [address, number] : by_address_) {
    if ((objects_[number].policy & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0) live.push_back(number);
  }
  Set reached{};
  spread(std::move(live), reached);

  scan::Count kept;
  scan::Count lost;
  std::size_t fresh = 0;
  for (const auto& [address, number] : by_address_) {
    Object& object = objects_[number];
    scan::Count& count = reached[number] ? kept : lost;
    ++count.objects;
    count.bytes += object.bytes;
    fresh += !reached[number] && !object.reported ? 1 : 0;
    object.reported = !reached[number];
  }

  scan::Verdict verdict;
  scanner_.scan({}, verdict);
  require(verdict.incomplete == scan::Incomplete::kNo);
  require(verdict.reached.objects == kept.objects && verdict.reached.bytes == kept.bytes);
  require(verdict.orphans.objects == lost.objects && verdict.orphans.bytes == lost.bytes);
  require(verdict.seen.objects == by_address_.size() && verdict.seen.bytes == bytes_);
  require(verdict.changed.objects == 0);
  require(verdict.direct.objects == count_direct(reached));
  require(verdict.direct.objects + verdict.indirect.objects == lost.objects);
  require(verdict.direct.bytes + verdict.indirect.bytes == lost.bytes);
  require(verdict.fresh.objects == fresh);
  require(verdict.recovered.objects == reported_ - (lost.objects - fresh));
  reported_ = lost.objects;
}

}  // namespace arenascan::fuzz
