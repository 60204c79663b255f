#include "api/trace/builder.h"

#include <limits>

namespace arenascan::trace {

void Builder::make(Op op, std::uint16_t thread, std::uint64_t name, std::uint64_t bytes, std::uint64_t count,
                   std::uint64_t alignment) {
  if (name == 0) return;
  release(Op::kFree, thread, name);
  Record record = new_record(op, thread);
  record.object = objects_.add(name);
  record.value = bytes;
  put(record, Place::kOther, count, "a count");
  put(record, Place::kAlignment, alignment, "an alignment");
  trace_.push_back(record);
}

void Builder::remake(std::uint16_t thread, std::uint64_t name, std::uint64_t old, std::uint64_t bytes) {
  begin_remake(thread, old);
  end_remake(thread, name, bytes);
}

void Builder::begin_remake(std::uint16_t thread, std::uint64_t old) {
  remade_[thread] = {old, objects_.take_name(old)};
}

void Builder::end_remake(std::uint16_t thread, std::uint64_t name, std::uint64_t bytes) {
  const auto found = remade_.find(thread);
  if (found == remade_.end()) return;  // it began before the trace did
  const Old old = found->second;
  remade_.erase(found);
  if (name == 0) {
    objects_.give_name(old.name, old.number);
    if (bytes == 0) release(Op::kFree, thread, old.name);
    return;  // failed; the old one stays
  }
  release(Op::kFree, thread, name);
  Record record = new_record(Op::kRealloc, thread);
  record.other = old.number;
  objects_.give_back(old.number);
  record.object = objects_.add(name);
  record.value = bytes;
  trace_.push_back(record);
}

void Builder::release(Op op, std::uint16_t thread, std::uint64_t name) {
  Record record = new_record(op, thread);
  record.object = objects_.take_name(name);
  if (record.object == 0) return;
  objects_.give_back(record.object);
  trace_.push_back(record);
}

void Builder::add(Op op, std::uint16_t thread) { trace_.push_back(new_record(op, thread)); }

std::uint16_t Builder::thread(std::uint64_t name) {
  const auto [found, is_new] = threads_.emplace(name, static_cast<std::uint16_t>(threads_.size() + 1));
  if (is_new && threads_.size() > std::numeric_limits<std::uint16_t>::max()) fail_("more than 65535 threads");
  if (is_new && threads_.size() > 1) {
    Record record = new_record(Op::kStart, 1);
    record.other = found->second;
    trace_.push_back(record);
  }
  return found->second;
}

Record Builder::new_record(Op op, std::uint16_t thread) {
  Record record;
  record.op = op;
  record.thread = thread;
  return record;
}

void Builder::put(Record& record, Place place, std::uint64_t value, const char* what) const {
  if (!set(record, place, value)) fail_(std::to_string(value) + " is not possible as " + what);
}

}  // namespace arenascan::trace
