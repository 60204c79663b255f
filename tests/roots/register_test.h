// A running thread that holds a pointer in one register, or one word below its stack pointer, and nowhere else.
#pragma once

#include <atomic>
#include <thread>

#include "tests/roots/root_test.h"

namespace arenascan::test {

// The body of a spinning function: takes the hidden value, reveals it in rax, moves it to its place by `fill`, clears
// rax, counts the round, spins, and clears the place by `empty`. The rest are the registers that fill and empty use.
#define ARENA_SPIN_WITH(fill, empty, ...)                                                    \
  const Hidden hidden = g_register_value;                                                    \
  asm volatile(                                                                              \
      "mov %[hidden], %%rax\n"                                                               \
      "test %%rax, %%rax\n"                                                                  \
      "jz 1f\n"                                                                              \
      "not %%rax\n"                                                                          \
      "1:\n" fill                                                                            \
      "xor %%eax, %%eax\n"                                                                   \
      "lock incl %[rounds]\n"                                                                \
      "2: pause\n"                                                                           \
      "cmp %[hidden], %[value]\n"                                                            \
      "je 2b\n" empty                                                                        \
      :                                                                                      \
      : [hidden] "r"(hidden), [value] "m"(g_register_value), [rounds] "m"(g_register_rounds) \
      : "rax", "cc", "memory" __VA_OPT__(, ) __VA_ARGS__)

inline std::atomic<Hidden> g_register_value{0};  // what the register is to hold, hidden; 0: nothing
inline std::atomic<int> g_register_rounds{0};
inline std::atomic<bool> g_register_end{false};

// `spin` loads the revealed value of g_register_value into its register and stays until the value changes; it counts
// g_register_rounds up once it holds it.
inline int register_test(char** argv, void (*spin)(), const char* option = "use_registers") {
  std::thread holder([spin] {
    while (!g_register_end) spin();
  });
  const auto change = [](Hidden hidden) {
    const int before = g_register_rounds;
    g_register_value = hidden;
    while (g_register_rounds < before + 1) std::this_thread::yield();
  };
  const int failures = root_test(argv, option, change, [&change] { change(0); });
  g_register_end = true;
  g_register_value = 1;
  holder.join();
  return failures;
}

}  // namespace arenascan::test
