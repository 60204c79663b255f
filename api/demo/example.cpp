// A program with threads and containers that leaks four times, in four ways, and has one object whose pointer is
// hidden.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arenascan/arena.hpp>

#include "example_library.h"

// The scanner's second look at an orphan comes late enough for the writing thread to get its turn on a busy machine.
extern "C" const char* arena_default_options() { return "second_look_ms=50"; }

namespace {

// Leak 1: two parents of each other, held by shared pointers, which never come to zero.
struct Partner {
  std::shared_ptr<Partner> other;
  char name[40] = "partner";
};

[[gnu::noinline]] void leak_a_cycle() {
  auto a = std::make_shared<Partner>();
  auto b = std::make_shared<Partner>();
  a->other = b;
  b->other = a;
}

// Leak 2: a list whose head is overwritten.
struct Node {
  Node* next;
  long payload[6];
};

Node* g_list = nullptr;

[[gnu::noinline]] void build_list(int length) {
  for (int i = 0; i < length; ++i) g_list = new Node{g_list, {i}};
}

[[gnu::noinline]] void lose_the_list_head() {
  build_list(10);
  g_list = nullptr;
}

// Leak 3: a buffer that a thread allocates and forgets.
void forget_a_buffer() {
  auto* buffer = new char[1000];
  buffer[0] = 'x';
}

// No leak: the only pointer is kept as its complement, and a thread goes on writing to the object.
std::uintptr_t g_hidden = 0;

[[gnu::noinline]] void hide_a_counter() {
  g_hidden = ~reinterpret_cast<std::uintptr_t>(new std::atomic<long>[4] {});
}

[[gnu::noinline]] void count_hidden() { ++reinterpret_cast<std::atomic<long>*>(~g_hidden)[1]; }

// Overwrites what earlier calls have left below the stack pointer.
[[gnu::noinline]] void scrub_stack() {
  volatile char dead[16384];
  for (volatile char& byte : dead) byte = 0;
}

}  // namespace

int main() {
  // Alive and well: containers, a global registry, work in threads.
  static std::map<int, std::string> registry;
  std::vector<std::unique_ptr<std::string>> words;
  for (int i = 0; i < 1000; ++i) {
    registry[i] = "entry number " + std::to_string(i);
    words.push_back(std::make_unique<std::string>(registry[i] + ", a copy on the heap"));
  }

  leak_a_cycle();
  lose_the_list_head();
  std::thread(forget_a_buffer).join();
  remember_greeting("hello, I am the greeting that will be lost");  // leak 4: lost in a library
  remember_greeting("hello, I am remembered");
  hide_a_counter();

  std::atomic<bool> done = false;
  std::thread writer([&done] {
    while (!done) {
      count_hidden();
      scrub_stack();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  scrub_stack();

  const arena::report found = arena::scan();
  std::printf(
      "arena::scan() while the program runs: %llu objects, %llu reached, %llu leaked (%llu direct, %llu indirect), "
      "%llu changed; longest pause %.2f ms\n",
      static_cast<unsigned long long>(found.seen.objects), static_cast<unsigned long long>(found.reached.objects),
      static_cast<unsigned long long>(found.leaked.objects), static_cast<unsigned long long>(found.direct.objects),
      static_cast<unsigned long long>(found.indirect.objects), static_cast<unsigned long long>(found.changed.objects),
      static_cast<double>(found.longest_pause_ns) / 1e6);
  std::fflush(stdout);
  arena::report::print(1);
  done = true;
  writer.join();

  // What the scan finds at exit would be the same again.
  delete[] reinterpret_cast<std::atomic<long>*>(~g_hidden);
  const bool as_expected = found.complete() && found.direct.objects == 4 && found.indirect.objects == 10 &&
                           found.leaked.bytes == 2 * 72 + 10 * 56 + 1000 + 43 && found.changed.objects == 1;
  std::puts(as_expected ? "These are the four leaks and the one changed orphan of this program, and no others."
                        : "UNEXPECTED: this is not what the program leaks.");
  std::fflush(stdout);
  std::_Exit(as_expected ? 0 : 1);
}
