// The calling thread's cache, for the length of one operation of the long way.
//
// Threads: the calling one. Called by: allocate.
#pragma once

#include "api/process.h"

namespace arenascan::api {

// Sets the process up and takes a cache where there is none yet. False where the thread has none: it has ended, or its
// cache is in use by the very call that a signal handler has interrupted, or there is no memory.
class LongUse {
 public:
  LongUse() noexcept;
  ~LongUse();
  LongUse(const LongUse&) = delete;
  LongUse& operator=(const LongUse&) = delete;

  explicit operator bool() const noexcept { return cache_ != nullptr; }
  alloc::ThreadCache* operator->() const noexcept { return cache_; }
  alloc::ThreadCache& operator*() const noexcept { return *cache_; }

 private:
  alloc::ThreadCache* cache_ = nullptr;
};

}  // namespace arenascan::api
