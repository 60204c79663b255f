#include "scan/threads.h"

namespace arenascan::scan {

void ThreadRegistry::register_thread(const StackEntry& entry) noexcept {
  const std::scoped_lock guard(mutex_);
  std::size_t kept = 0;
  for (const StackEntry& known : entries_) {
    if (known.end <= entry.begin || known.begin >= entry.end) entries_[kept++] = known;
  }
  entries_.truncate(kept);
  // A stack that finds no room stays unknown: it is then scanned like any mapping.
  if (entries_.push_back(entry)) entries_.end()[-1].id = ++last_id_;
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
}

void ThreadRegistry::fork_child(std::uintptr_t own_thread_pointer) noexcept {
  const std::scoped_lock guard(mutex_);
  for (StackEntry& entry : entries_) {
    if (entry.thread_pointer != own_thread_pointer) entry.inherited = true;
  }
}

}  // namespace arenascan::scan
