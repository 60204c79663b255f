// Between the pauses of a scan a library is closed, memory is mapped where its constants were, and the only pointer to
// an object moves there: out of a list that the mark has not come to the end of.
#include <arenascan/arena.h>
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/check.h"

namespace {

constexpr std::size_t kNodes = 300'000;
constexpr std::size_t kPage = 4096;

struct Node {
  Node* next;
  void* held;
  std::uint64_t rest[6];
};

Node* g_first = nullptr;
std::uintptr_t g_late = 0;  // a node far down the list, inverted: no pointer
void* g_library = nullptr;
void* g_constants = nullptr;  // the library's first page: read-only
bool g_moved = false;

Node* late() { return reinterpret_cast<Node*>(~g_late); }

[[gnu::noinline]] void build() {
  for (std::size_t i = 0; i < kNodes; ++i) {
    auto* const node = static_cast<Node*>(std::calloc(1, sizeof(Node)));
    node->next = g_first;
    g_first = node;
    if (i == kNodes / 3) g_late = ~reinterpret_cast<std::uintptr_t>(node);
  }
  late()->held = std::calloc(1, 100);
}

[[gnu::noinline]] void scrub_stack() {
  volatile char dead[32768];
  for (volatile char& byte : dead) byte = 0;
}

int replace(const arena_progress*, void*) {
  if (g_moved) return 0;
  CHECK(dlclose(g_library) == 0);
  void** const memory = static_cast<void**>(
      mmap(g_constants, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  CHECK(memory == g_constants);
  *memory = late()->held;
  late()->held = nullptr;
  g_moved = true;
  return 0;
}

arena_scan_result scan(bool moves) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.progress = moves ? replace : nullptr;
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(&options, &result) == 0);
  CHECK(result.incomplete == ARENA_COMPLETE);
  return result;
}

}  // namespace

int main() {
  g_library = dlopen(ARENA_TEST_LIB_DIR "/libroot_library.so", RTLD_NOW);
  CHECK(g_library != nullptr);
  g_constants = reinterpret_cast<void*>(static_cast<const link_map*>(g_library)->l_addr);
  build();
  scrub_stack();
  std::atomic<bool> done{false};
  std::thread other([&done] {
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  const std::size_t before = scan(false).leaked.objects;  // dlopen's and the library's own
  const arena_scan_result found = scan(true);
  CHECK(g_moved);
  if (found.concurrent == 0) std::fprintf(stderr, "NOT TESTED: %s\n", found.way);
  CHECK(found.leaked.objects <= before);
  done = true;
  other.join();
  return arenascan::test::finish();
}
