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

// Of numbers that are too large, half are small sizes, half those about the edges: of a class's slot, of some pages.
std::size_t size_of(std::uint64_t value) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 20;
  constexpr std::uint64_t kMostPages = 16;
  if (value <= kMost) return value;
  const std::uint64_t chosen = value >> 8;
  if (value % 2 == 0) return chosen % 512;
  const std::uint64_t edge = chosen % (alloc::kClassCount + kMostPages);
  const std::size_t bytes = edge < alloc::kClassCount ? alloc::slot_bytes(static_cast<unsigned>(edge))
                                                      : (edge - alloc::kClassCount + 1) * alloc::kPageBytes;
  return bytes - 1 + (value >> 16) % 3;
}

std::size_t alignment_of(const Record& record) {
  constexpr unsigned kMostBits = 16;
  return std::size_t{1} << (record.detail <= kMostBits ? record.detail : record.detail % 8);
}

std::uint8_t family_of(Op op) {
  return op == Op::kNew ? alloc::state::kByNew : op == Op::kNewArray ? alloc::state::kByNewArray : 0;
}

bool is_zero(const void* memory, std::size_t bytes) {
  const auto* const first = static_cast<const char*>(memory);
  return bytes == 0 || (*first == 0 && std::memcmp(first, first + 1, bytes - 1) == 0);
}

void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

// Of the word at a position: fewer than all at the end of an object whose size is no multiple of them.
std::size_t bytes_of_word(std::size_t position, std::size_t object_bytes) {
  return std::min(kWordBytes, object_bytes - position * kWordBytes);
}

}  // namespace

Model::Model(std::size_t variant) : scanner_(heap_, user_roots_, nullptr) {
  alloc::RunAllocator::Settings settings;
  if (variant % 2 != 0) settings.decay_ns = 0;
  require(heap_.init(kReserveBytes, settings));
  const auto begin = reinterpret_cast<std::uintptr_t>(roots_.data());
  require(user_roots_.add({begin, begin + sizeof(roots_)}));
}

Model::~Model() { heap_.destroy(); }

void Model::play(const Record& record) {
  if (beside_left_ == 0) return play_now(record);
  beside_.push_back(record);
  if (--beside_left_ == 0) scan();
}

void Model::play_now(const Record& record) {
  Record one = record;
  for (unsigned left = repeats(record);; ++one.object, --left) {
    play_one(one);
    if (left == 0) return;
  }
}

// How many more objects a record makes or releases: those whose numbers follow.
unsigned Model::repeats(const Record& record) {
  constexpr unsigned kMost = 16;
  Extra extra(record);
  static_cast<void>(extra.below(kStacks));
  switch (record.op) {
    case Op::kMalloc:
    case Op::kCalloc:
    case Op::kMemalign:
    case Op::kNew:
    case Op::kNewArray:
    case Op::kFree:
    case Op::kDelete:
    case Op::kDeleteArray: return extra.below(kMost);
    default: return 0;
  }
}

void Model::play_one(const Record& record) {
  Thread& by = thread(record);
  switch (record.op) {
    case Op::kMalloc: return allocate(record, size_of(record.value), 1);
    case Op::kCalloc: return allocate(record, size_of((record.other % 64) * size_of(record.value)), 1);
    case Op::kRealloc: return resize(record);
    case Op::kMemalign:
    case Op::kNew:
    case Op::kNewArray: return allocate(record, size_of(record.value), alignment_of(record));
    case Op::kFree:
    case Op::kDelete: return release(by, object(record.object));
    case Op::kDeleteArray: return hold(by, object(record.object));
    case Op::kStore: return store(record);
    case Op::kRoot: roots_[record.object % kRoots] = word_of(record); return;
    case Op::kScan:
      plan_ = ScanPlan(record);
      beside_left_ = plan_.beside;
      return beside_left_ == 0 ? scan() : void();
    case Op::kNotLeak: return annotate(object(record.object), alloc::state::kNotLeak);
    case Op::kIgnore: return annotate(object(record.object), alloc::state::kIgnored);
    case Op::kNoScan: return annotate(object(record.object), alloc::state::kNoScan);
    case Op::kDisable: ++by.disabled; return;
    case Op::kEnable: by.disabled -= by.disabled == 0 ? 0 : 1; return;
    case Op::kStart: static_cast<void>(cache_of(threads_[record.other % kThreads])); return;
    case Op::kEnd: return end(by);
    case Op::kFork:
      if (scans_now_) return;
      require(heap_.is_valid());
      check_descriptions();
      return let_time_pass(Extra(record).below(kMostTime));
  }
}

Model::Set Model::touched(const Record& record) {
  Set touched;
  if (record.op == Op::kDisable || record.op == Op::kEnable || record.op == Op::kEnd) return touched;
  for (std::size_t i = 0; i <= repeats(record); ++i) touched.set((record.object + i) % kObjects);
  if (record.op == Op::kRealloc || record.op == Op::kStore) touched.set(record.other % kObjects);
  return touched;
}

bool Model::is_alone(const Record& record) const {
  return beside_left_ != 0 || record.op == Op::kRoot || record.op == Op::kScan || record.op == Op::kStart ||
         record.op == Op::kFork;
}

// In pieces of what 16 bits of a birth hold a quarter of.
void Model::let_time_pass(unsigned pieces) {
  constexpr std::uint32_t kPiece = 0x4000;
  pieces = std::min(pieces, time_left_);
  time_left_ -= pieces;
  for (std::uint32_t left = pieces * kPiece; left != 0; --left) static_cast<void>(scanner_.mark_time());
}

void Model::finish() {
  if (beside_left_ != 0) scan();
  plan_ = ScanPlan(Record{});
  scan();
  for (const Object& object : objects_) check_contents(object);
  require(heap_.is_valid());
  give_all_back();
}

// A page goes back when its owner has heard of the last free in it: if one went astray, a page stays.
void Model::give_all_back() {
  for (Object& object : objects_) release(threads_.back(), object);
  for (const Object& object : held_) release_held(threads_.front().cache, object);
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
  alignment = std::max(alignment, alloc::kGranuleBytes);
  made.policy = by.disabled == 0 ? 0 : alloc::state::kNotLeak;
  made.family = family_of(record.op);
  const auto flags = static_cast<std::uint8_t>(made.policy | made.family);
  const bool is_plain = alignment == alloc::kGranuleBytes && flags == 0 && record.op != Op::kCalloc;
  made.stack = Extra(record).below(kStacks);
  made.born = heap_.stamp();
  const alloc::Birth birth = heap_.birth(made.stack);
  const alloc::Heap::Allocation given = is_plain
                                            ? alloc::Heap::Allocation{heap_.allocate(cache_of(by), bytes, birth), false}
                                            : heap_.allocate_slow(cache_of(by), bytes, alignment, birth, flags);
  void* const p = given.object;
  require(p != nullptr && (!given.zeroed || is_zero(p, bytes)));
  made.address = reinterpret_cast<std::uintptr_t>(p);
  made.bytes = bytes;
  made.is_young = scans_now_;
  require(made.address % alignment == 0);
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
  if (scans_now_) return;
  if ((made.address != 0 && &made != &old) || !has_room(bytes)) return;
  check_contents(old);
  const auto keep = [bytes](Object& object) {
    object.words.erase(object.words.lower_bound(bytes / kWordBytes), object.words.end());
  };
  if (bytes != 0 && resize_in_place(old, bytes, Extra(record).below(kStacks))) {
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
bool Model::resize_in_place(Object& object, std::size_t bytes, std::uint32_t stack) {
  const std::size_t before = object.bytes;
  if (bytes < before) set_bytes(object, bytes);
  const bool is_resized = heap_.resize_in_place(pointer(object.address), bytes, stack);
  set_bytes(object, is_resized ? bytes : before);
  if (is_resized) object.stack = stack;
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
  void* const p = pointer(object.address);
  forget(object);
  if (thread.cache == nullptr) {
    heap_.release(p);
  } else if (!heap_.release_quickly(*thread.cache, p)) {
    heap_.release(*thread.cache, p);
  }
}

// Into quarantine; the oldest comes out of it where there are some.
void Model::hold(Thread& thread, Object& object) {
  if (object.address == 0) return;
  const Object held = forget(object);
  heap_.hold(pointer(held.address));
  Object oldest;
  {
    const std::scoped_lock lock(mutex_);
    held_.push_back(held);
    if (held_.size() <= kMostHeld) return;
    oldest = std::move(held_.front());
    held_.pop_front();
  }
  release_held(thread.cache, oldest);
}

void Model::release_held(alloc::ThreadCache* cache, const Object& object) {
  require(heap_.held_bytes(pointer(object.address)) == object.bytes);
  check_words(object);
  heap_.release_held(cache, pointer(object.address));
}

// Before it is the program's no more.
Model::Object Model::forget(Object& object) {
  check_contents(object);
  heap_.check_family(pointer(object.address), object.family);
  const std::scoped_lock lock(mutex_);
  by_address_.erase(object.address);
  bytes_ -= object.bytes;
  return std::exchange(object, {});
}

void Model::store(const Record& record) {
  Object& into = object(record.object);
  const std::size_t words = (into.bytes + kWordBytes - 1) / kWordBytes;
  if (into.address == 0 || words == 0 || into.is_young) return;
  const std::size_t position = record.low() / kWordBytes % words;
  const std::uintptr_t word = word_of(record) & UINTPTR_MAX >> 8 * (kWordBytes - bytes_of_word(position, into.bytes));
  into.words.erase(position);
  if (word != 0) into.words.emplace(position, word);
  write(into, position, word);
}

void Model::annotate(Object& object, std::uint8_t policy) {
  if (object.address == 0 || scans_now_) return;
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
  std::memcpy(pointer(object.address + position * kWordBytes), &word, bytes_of_word(position, object.bytes));
}

void Model::check_contents(const Object& object) const {
  if (object.address == 0) return;
  require(heap_.requested_bytes(pointer(object.address)) == object.bytes);
  check_words(object);
}

void Model::check_words(const Object& object) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(object.address);
  std::size_t at = 0;
  for (const auto& [position, word] : object.words) {
    const std::size_t next = position * kWordBytes;
    require(is_zero(bytes + at, next - at));
    const std::size_t length = bytes_of_word(position, object.bytes);
    require(std::memcmp(bytes + next, &word, length) == 0);
    at = next + length;
  }
  require(is_zero(bytes + at, object.bytes - at));
}

void Model::check_no_overlap(const Object& object) const {
  const auto end_of = [](const Object& o) { return o.address + std::max<std::size_t>(o.bytes, 1); };
  const auto next = by_address_.lower_bound(object.address);
  require(next == by_address_.end() || end_of(object) <= next->first);
  require(next == by_address_.begin() || end_of(objects_[std::prev(next)->second]) <= object.address);
}

}  // namespace arenascan::fuzz
