// The function of the same name behind one of ours that wraps it, in the next library that has it.
//
// Looked up without locks of ours and without anything that the compiler initialises by the first call, so that the
// wrapping functions may be called from signal handlers; but dlsym itself should not be, so whoever wraps those looks
// them up before main.
//
// Threads: any. Called by: the wrapping functions of api/.
#pragma once

#include <atomic>

namespace arenascan::api {

// Its address; null when there is none.
void* next_symbol(const char* name) noexcept;

template <typename Function>
class NextFunction {
 public:
  // The second argument only gives the type.
  constexpr NextFunction(const char* name, Function*) noexcept : name_(name) {}
  Function* get() noexcept {
    Function* function = function_.load(std::memory_order_relaxed);
    if (function == nullptr) {
      function = reinterpret_cast<Function*>(next_symbol(name_));
      function_.store(function, std::memory_order_relaxed);
    }
    return function;
  }

 private:
  const char* name_;
  // Writers and readers: all callers. Relaxed: everybody writes the same, and it points to what was there before.
  std::atomic<Function*> function_{nullptr};
};

}  // namespace arenascan::api
