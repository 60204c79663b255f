// A thread that a scan stops in the middle of an allocation publishes the object when the scan has marked already: it
// was not there when the world stood still, and is no leak.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

std::atomic<bool> g_end{false};

// Holds each block for longer than a scan's second look takes.
void allocate() {
  std::vector<void*> held(200'000);
  for (std::size_t i = 0; !g_end; i = (i + 1) % held.size()) {
    std::free(held[i]);
    held[i] = std::malloc(24);
  }
  for (void* const block : held) std::free(block);
}

}  // namespace

int main() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back(allocate);
  arena_scan_options options{};
  options.size = sizeof(options);
  options.second_look_ms = 1;
  // On a machine that is busy with something else a scan may take a second.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (int i = 0; i < 20 || (i < 300 && std::chrono::steady_clock::now() < until); ++i) {
    arena_scan_result found{};
    found.size = sizeof(found);
    CHECK(arena_scan_ex(&options, &found) == 0);
    CHECK(found.incomplete == ARENA_COMPLETE);
    CHECK(found.leaked.objects == 0);
  }
  g_end = true;
  for (std::thread& thread : threads) thread.join();
  return arenascan::test::finish();
}
