// A mutex, and the knowledge whether the calling thread is inside one.
//
// Signal handlers allocate, although they should not. One that interrupts its thread while the thread takes, holds or
// gives back an allocator lock must not wait for that lock; is_in_lock() tells it. It is counted for all locks
// together, around the mutex's own operations, so that there is no instant between holding a lock and being known to
// hold it.
//
// Threads: as std::mutex. The count is the thread's own; signal fences keep it on the outside.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "alloc/atomic.h"

namespace arenascan::alloc {

class Lock {
 public:
  constexpr Lock() = default;

  void lock() noexcept {
    depth() = depth() + 1;
    std::atomic_signal_fence(std::memory_order_seq_cst);
#if defined(ARENASCAN_INTERLEAVE)
    interleave();
    while (!mutex_.try_lock()) interleave(true);
#else
    mutex_.lock();
#endif
  }
  bool try_lock() noexcept {
    depth() = depth() + 1;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (mutex_.try_lock()) return true;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    depth() = depth() - 1;
    return false;
  }
  void unlock() noexcept {
    mutex_.unlock();
    std::atomic_signal_fence(std::memory_order_seq_cst);
    depth() = depth() - 1;
  }

  // Whether the calling thread, or what it interrupted as a signal handler, is inside any lock.
  static bool is_in_lock() noexcept { return depth() != 0; }

 private:
  static volatile std::uint32_t& depth() noexcept {
    [[gnu::tls_model("initial-exec")]] static constinit thread_local volatile std::uint32_t t_depth = 0;
    return t_depth;
  }

  std::mutex mutex_;
};

// An address that is different in every thread.
inline const void* thread_name() noexcept {
  [[gnu::tls_model("initial-exec")]] static constinit thread_local char name = 0;
  return &name;
}

}  // namespace arenascan::alloc
