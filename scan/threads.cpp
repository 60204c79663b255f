#include "scan/threads.h"

namespace arenascan::scan {

std::uint64_t ThreadRegistry::new_id() noexcept {
  const std::scoped_lock guard(mutex_);
  static_cast<void>(entries_.make_room(announced_.size() + 1));
  return ++last_id_;
}

void ThreadRegistry::announce(std::uintptr_t thread_pointer, std::uint64_t id) noexcept {
  const std::scoped_lock guard(mutex_);
  for (const StackEntry& entry : entries_) {
    if (entry.thread_pointer == thread_pointer && entry.id >= id) return;
  }
  drop_announced(thread_pointer, id);
  static_cast<void>(announced_.push_back({thread_pointer, id, false}));
}

// Those of the same descriptor up to that id. Returns whether the result of the thread itself was taken.
bool ThreadRegistry::drop_announced(std::uintptr_t thread_pointer, std::uint64_t id) noexcept {
  bool is_taken = false;
  std::size_t kept = 0;
  for (const Announced& known : announced_) {
    if (known.id == id) is_taken = known.result_taken;
    if (known.thread_pointer != thread_pointer || known.id > id) announced_[kept++] = known;
  }
  announced_.truncate(kept);
  return is_taken;
}

void ThreadRegistry::register_thread(const StackEntry& entry) noexcept {
  const std::scoped_lock guard(mutex_);
  std::size_t kept = 0;
  for (const StackEntry& known : entries_) {
    if (known.end <= entry.begin || known.begin >= entry.end) entries_[kept++] = known;
  }
  entries_.truncate(kept);
  const bool is_taken = drop_announced(entry.thread_pointer, entry.id);
  // A stack that finds no room stays unknown: it is then scanned like any mapping.
  if (entries_.push_back(entry) && is_taken) entries_.end()[-1].result_taken = true;
}

std::uintptr_t ThreadRegistry::begin_of_stack(std::uintptr_t thread_pointer, std::uintptr_t address) noexcept {
  const std::scoped_lock guard(mutex_);
  for (const StackEntry& entry : entries_) {
    if (entry.thread_pointer == thread_pointer && address >= entry.begin && address < entry.end) return entry.begin;
  }
  return 0;
}

std::uint64_t ThreadRegistry::id_of(std::uintptr_t thread_pointer) noexcept {
  const std::scoped_lock guard(mutex_);
  for (const Announced& known : announced_) {  // an entry with that descriptor is an earlier thread's
    if (known.thread_pointer == thread_pointer) return known.id;
  }
  for (const StackEntry& entry : entries_) {
    if (entry.thread_pointer == thread_pointer) return entry.id;
  }
  return 0;
}

void ThreadRegistry::forget_result(std::uint64_t id) noexcept {
  const std::scoped_lock guard(mutex_);
  for (StackEntry& entry : entries_) {
    if (entry.id == id && id != 0) entry.result_taken = true;
  }
  for (Announced& known : announced_) {
    if (known.id == id && id != 0) known.result_taken = true;
  }
}

void ThreadRegistry::fork_child(std::uintptr_t own_thread_pointer) noexcept {
  const std::scoped_lock guard(mutex_);
  for (StackEntry& entry : entries_) {
    if (entry.thread_pointer != own_thread_pointer) entry.inherited = true;
  }
}

}  // namespace arenascan::scan
