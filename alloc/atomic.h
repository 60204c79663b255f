// The atomics and the lock that the heap is made of, with a place to stand between them and the program.
//
// In the fuzz build (ARENASCAN_INTERLEAVE) each operation on an Atomic first asks g_interleave, which may let another
// thread run for a while, as an input says: so every order in which threads can meet is an input of fuzz/, and comes
// again with it. The orders are those of a sequentially consistent machine; that fewer guarantees are enough is for
// ThreadSanitizer to say. In every other build an Atomic is std::atomic.
//
// The idea is that of model checkers of concurrent code (Relacy, loom).
#pragma once

#include <atomic>

namespace arenascan::alloc {

#if defined(ARENASCAN_INTERLEAVE)

// `waits`: the calling thread cannot go on before another one has. Written while one thread runs.
inline void (*g_interleave)(bool waits) = nullptr;

inline void interleave(bool waits = false) noexcept {
  if (g_interleave != nullptr) g_interleave(waits);
}

template <typename T>
class Atomic : public std::atomic<T> {
 public:
  using std::atomic<T>::atomic;

  T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    interleave();
    return std::atomic<T>::load(order);
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    interleave();
    std::atomic<T>::store(value, order);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    interleave();
    return std::atomic<T>::exchange(value, order);
  }
  template <typename... Orders>
  bool compare_exchange_strong(T& expected, T wanted, Orders... orders) noexcept {
    interleave();
    return std::atomic<T>::compare_exchange_strong(expected, wanted, orders...);
  }
  template <typename... Orders>
  bool compare_exchange_weak(T& expected, T wanted, Orders... orders) noexcept {
    interleave();
    return std::atomic<T>::compare_exchange_weak(expected, wanted, orders...);
  }
  T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    interleave();
    return std::atomic<T>::fetch_add(value, order);
  }
  T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    interleave();
    return std::atomic<T>::fetch_sub(value, order);
  }
  T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    interleave();
    return std::atomic<T>::fetch_or(value, order);
  }
  T fetch_and(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    interleave();
    return std::atomic<T>::fetch_and(value, order);
  }
  operator T() const noexcept { return load(); }
};

#else

template <typename T>
using Atomic = std::atomic<T>;

#endif

}  // namespace arenascan::alloc
