// The child of vfork runs in its parent's memory, and until it is done nothing stops its parent. When it needs the
// allocator while a scan waits for the parent, it gets it: no scan is incomplete, no child late.
#include <arenascan/arena.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/check.h"

using namespace arenascan::test;
using namespace std::chrono_literals;

namespace {

constexpr int kScans = 60;
std::atomic<bool> g_done{false};
int g_children = 0;
std::chrono::steady_clock::duration g_longest{};

// Blocks of a size that the heap's lock has to be taken for.
[[gnu::noinline]] void allocate_like_a_careless_child() {
  for (int i = 0; i < 40; ++i) {
    void* volatile block = std::malloc(std::size_t{300'000} + static_cast<std::size_t>(i) * 70'000);
    std::free(block);
  }
}

void make_children() {
  while (!g_done) {
    const auto began = std::chrono::steady_clock::now();
    const pid_t child = vfork();
    if (child == 0) {
      allocate_like_a_careless_child();
      _exit(0);
    }
    int status = 1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    g_longest = std::max(g_longest, std::chrono::steady_clock::now() - began);
    ++g_children;
  }
}

}  // namespace

int main() {
  std::thread forker(make_children);
  int incomplete = 0;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < kScans; ++i) {
    arena_scan_result result{};
    result.size = sizeof(result);
    arena_scan_ex(nullptr, &result);
    incomplete += result.incomplete != 0 ? 1 : 0;
    std::this_thread::sleep_for(1ms);
  }
  std::printf("%d children, the longest took %lld ms; %d scans, %d incomplete, took %lld ms\n", g_children,
              static_cast<long long>(g_longest / 1ms), kScans, incomplete,
              static_cast<long long>((std::chrono::steady_clock::now() - began) / 1ms));
  g_done = true;
  forker.join();
  CHECK(incomplete == 0);
  CHECK(g_children > 0);
  return finish();
}
