// bdwgc's leak_test (every function that allocates, blocks given back and blocks forgotten, check after check) and
// thread_leak_test (five threads, each of which forgets one of a hundred), with exact numbers.
// args: calls threads
#include <malloc.h>
#include <pthread.h>

#include <array>
#include <cwchar>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kBlocks = 100;
std::array<void*, kBlocks> g_blocks;

[[gnu::noinline]] void give_back_aligned() {
  void* p = used(aligned_alloc(64, 128));
  std::free(p);
  CHECK(posix_memalign(&p, 16, 70) == 0);
  std::free(p);
}

[[gnu::noinline]] void fill() {
  for (std::size_t i = 0; i < kBlocks; ++i) {
    g_blocks[i] = i > 0 ? std::malloc(sizeof(int) + i) : strdup("abc");
    CHECK(malloc_usable_size(g_blocks[i]) >= (i > 0 ? sizeof(int) + i : 4));
  }
}

[[gnu::noinline]] void resize_some() {
  for (std::size_t i = 3; i < kBlocks / 2; ++i) {
    g_blocks[i] = i % 2 != 0 ? reallocarray(g_blocks[i], i, 43) : std::realloc(g_blocks[i], i * 16 + 1);
  }
}

[[gnu::noinline]] void free_from(std::size_t first) {
  for (std::size_t i = first; i < kBlocks; ++i) {
    std::free(g_blocks[i]);
    g_blocks[i] = nullptr;
  }
}

// Over the old pointers, of which the first two are lost thereby.
[[gnu::noinline]] void fill_front() {
  for (std::size_t i = 0; i < kBlocks / 8; ++i) {
    g_blocks[i] = i < 3 || i > 6 ? std::malloc(sizeof(int) + i) : strndup("abcd", i);
  }
  g_blocks[0] = std::calloc(3, 16);
  std::free(g_blocks[0]);
  g_blocks[0] = wcsdup(L"w");
}

void test_calls() {
  const std::uint32_t mark = arena_mark();
  give_back_aligned();
  fill();
  expect_lost("all are held", lost_since(mark), {0, 0});
  resize_some();
  expect_lost("some have moved", lost_since(mark), {0, 0});
  free_from(2);
  fill_front();
  for (int i = 0; i < 3; ++i) expect_lost("three are overwritten", lost_since(mark), {3, 0});
  g_blocks = {};
  for (int i = 0; i < 3; ++i) expect_lost("all are forgotten", lost_since(mark), {3 + kBlocks / 8, 0});
}

void* forget_one(void*) {
  std::array<int*, kBlocks> blocks;
  for (std::size_t i = 0; i < kBlocks; ++i) blocks[i] = used(static_cast<int*>(std::malloc(sizeof(int) + i)));
  arena_scan();
  for (std::size_t i = 1; i < kBlocks; ++i) std::free(blocks[i]);
  return nullptr;
}

void test_threads() {
  const std::uint32_t mark = arena_mark();
  std::array<pthread_t, 5> threads;
  for (pthread_t& thread : threads) CHECK(pthread_create(&thread, nullptr, forget_one, nullptr) == 0);
  for (const pthread_t thread : threads) CHECK(pthread_join(thread, nullptr) == 0);
  for (int i = 0; i < 3; ++i) expect_lost("one of each thread", lost_since(mark), {threads.size(), 0});
}

}  // namespace

int main(int, char** argv) {
  if (std::string_view(argv[1]) == "calls") test_calls();
  if (std::string_view(argv[1]) == "threads") test_threads();
  return finish();
}
