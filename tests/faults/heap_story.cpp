// Memory of all sizes comes and goes, on several threads; and a private heap.
#include <pthread.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/faults/story.h"

namespace arenascan::test {
namespace {

constexpr std::size_t kSizes[] = {1, 24, 100, 1000, 5000, 40'000, 200'000, 1'000'000};

void check_zero(const unsigned char* memory, std::size_t bytes) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bytes; ++i) wrong += memory[i] != 0 ? 1 : 0;
  CHECK(wrong == 0);
}

void use_calloc(std::size_t bytes) {
  errno = 0;
  auto* const memory = static_cast<unsigned char*>(std::calloc(1, bytes));
  CHECK(memory != nullptr || errno == ENOMEM);
  if (memory == nullptr) return;
  check_zero(memory, bytes);
  std::memset(memory, 0x55, bytes);
  std::free(memory);
}

// What realloc keeps when it fails, it keeps whole.
void use_realloc(std::size_t bytes) {
  void* memory = get_filled(bytes);
  if (memory == nullptr) return;
  for (const std::size_t wanted : {bytes * 2, bytes * 5, bytes / 3 + 1}) {
    errno = 0;
    void* const moved = std::realloc(memory, wanted);
    CHECK(moved != nullptr || errno == ENOMEM);
    if (moved != nullptr) memory = moved;
    check_filled(memory, std::min(bytes, bytes / 3 + 1));
  }
  std::free(memory);
}

void use_aligned(std::size_t bytes) {
  void* memory = nullptr;
  const int error = posix_memalign(&memory, 4096, bytes);
  CHECK(error == 0 || error == ENOMEM);
  if (error != 0) return;
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % 4096 == 0);
  std::memset(memory, 0x33, bytes);
  std::free(memory);
}

constexpr int kShared = 64;
std::atomic<void*> g_shared[kShared];  // each filled, of kSizes[its place modulo their number]

void* work(void*) {
  constexpr std::size_t kSizeCount = std::size(kSizes);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kShared; ++i) {
      const std::size_t bytes = kSizes[static_cast<std::size_t>(i) % kSizeCount];
      void* const old = g_shared[i].exchange(get_filled(bytes, static_cast<unsigned char>(i)));
      if (old == nullptr) continue;
      check_filled(old, bytes, static_cast<unsigned char>(i));
      std::free(old);
    }
    for (const std::size_t bytes : kSizes) {
      use_calloc(bytes);
      use_realloc(bytes);
      use_aligned(bytes);
    }
  }
  return nullptr;
}

// In a frame of its own: what it leaves there may be the address of what is lost later.
[[gnu::noinline]] void use_all_sizes() {
  pthread_t threads[2];
  int count = 0;
  while (count < 2 && pthread_create(&threads[count], nullptr, work, nullptr) == 0) ++count;
  work(nullptr);
  for (int i = 0; i < count; ++i) pthread_join(threads[i], nullptr);
  // What has been unused for long goes back to the system when something else is freed, and is zero when it comes
  // again.
  for (int round = 0; round < 8; ++round) {
    void* const first = get_filled(1'000'000);
    void* const second = get_filled(1'000'000);
    std::free(first);
    sleep_us(2'500);
    std::free(second);
    use_calloc(1'000'000);
  }
}

}  // namespace

void tell_heap_story() {
  use_all_sizes();
  lose(10, 100);
  scan_and_check(Beside::kNo);
}

void tell_private_story() {
  errno = 0;
  arena_heap* const heap = arena_heap_create(std::size_t{64} << 20);
  CHECK(heap != nullptr || errno == ENOMEM);
  if (heap == nullptr) return;
  static void* root = nullptr;
  std::uint64_t held = 0;
  std::uint64_t lost = 0;
  const bool has_root = arena_heap_add_root(heap, &root, sizeof(root)) == 0;
  for (int i = 0; i < 3'000; ++i) {
    errno = 0;
    const std::size_t bytes = i % 100 == 0 ? 300'000 : 500;
    auto* const object = static_cast<void**>(arena_heap_alloc(heap, bytes));
    CHECK(object != nullptr || errno == ENOMEM);
    if (object == nullptr) continue;
    std::memset(object, 0, bytes);
    if (i % 3 == 0) {
      ++lost;
      continue;
    }
    *object = root;
    root = object;
    ++held;
  }
  for (int i = 0; i < 2; ++i) {
    arena_scan_result result{};
    result.size = sizeof(result);
    const std::size_t leaked = arena_heap_scan(heap, &result);
    const bool is_complete = result.incomplete == ARENA_COMPLETE;
    CHECK(is_complete || std::strlen(result.incomplete_why) > 10);
    CHECK(leaked == (is_complete ? lost + (has_root ? 0 : held) : 0));
    CHECK(!is_complete || !has_root || result.reached.objects == held);
  }
  arena_heap_destroy(heap);
  scan_and_check(Beside::kNo);
}

}  // namespace arenascan::test
