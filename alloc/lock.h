// A mutex that knows whether the calling thread holds it.
//
// Signal handlers allocate, although they should not. One that interrupts its thread while the thread holds an
// allocator lock must not wait for that lock; is_mine() tells it.
//
// Threads: as std::mutex. owner_ is written by the holder alone; a thread that reads its own name there wrote it
// itself, and any other value means "not mine", so relaxed is enough.
#pragma once

#include <atomic>
#include <mutex>

namespace arenascan::alloc {

// An address that is different in every thread.
inline const void* thread_name() noexcept {
  [[gnu::tls_model("initial-exec")]] static constinit thread_local char name = 0;
  return &name;
}

class Lock {
 public:
  constexpr Lock() = default;

  void lock() noexcept {
    mutex_.lock();
    owner_.store(thread_name(), std::memory_order_relaxed);
  }
  bool try_lock() noexcept {
    if (!mutex_.try_lock()) return false;
    owner_.store(thread_name(), std::memory_order_relaxed);
    return true;
  }
  void unlock() noexcept {
    owner_.store(nullptr, std::memory_order_relaxed);
    mutex_.unlock();
  }
  [[nodiscard]] bool is_mine() const noexcept { return owner_.load(std::memory_order_relaxed) == thread_name(); }

 private:
  std::mutex mutex_;
  std::atomic<const void*> owner_{nullptr};
};

}  // namespace arenascan::alloc
