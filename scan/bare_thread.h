// Threads that the C library does not know: they run on the thread-local data of the one that starts them, errno among
// it, so all that they may do is to call the kernel as it is done here, to wait, and to wake.
//
// Threads: any. Called by: helpers, tracer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace arenascan::scan {

// Starts one that runs serve(argument) on `stack`, with all signals blocked; `flags` are those of clone, and the kernel
// writes its id to `id` where they say so. Returns the id, or a negative number.
int begin_bare_thread(int (*serve)(void*), void* argument, void* stack, std::size_t stack_bytes, int flags,
                      std::atomic<std::uint32_t>* id) noexcept;

// A system call. Returns what the kernel answers; an error is its negative number.
inline long bare_call(long number, long first = 0, long second = 0, long third = 0, long fourth = 0) noexcept {
  long result = number;
  register long in_r10 asm("r10") = fourth;
  asm volatile("syscall" : "+a"(result) : "D"(first), "S"(second), "d"(third), "r"(in_r10) : "rcx", "r11", "memory");
  return result;
}

template <typename T>
long bare_argument(T* pointer) noexcept {
  return reinterpret_cast<long>(pointer);
}

// Returns when `word` is another than `value` (acquire), or, false, at `until_ns` by os_monotonic_ns(). Spins for a
// moment before it sleeps.
bool wait_while(const std::atomic<std::uint32_t>& word, std::uint32_t value,
                std::uint64_t until_ns = UINT64_MAX) noexcept;

// Wakes up to `count` threads that wait for `word`.
void wake(const std::atomic<std::uint32_t>& word, int count) noexcept;

}  // namespace arenascan::scan
