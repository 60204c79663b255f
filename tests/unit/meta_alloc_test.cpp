// The tool's own memory: inside its range, from any thread, given back by any thread, in a forked child.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "alloc/meta_alloc.h"
#include "alloc/meta_vector.h"

using namespace arenascan::alloc;

namespace {

bool is_inside(const void* p) {
  const MetaRange range = meta_range();
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  return at >= range.begin && at < range.end;
}

}  // namespace

TEST_CASE("blocks of all threads lie in one known range") {
  REQUIRE(meta_prepare());
  std::vector<std::thread> threads;
  std::atomic<int> outside{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&outside] {
      for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{70'000}, std::size_t{20'000'000}}) {
        void* const p = meta_allocate(bytes);
        if (p == nullptr || !is_inside(p)) ++outside;
        std::memset(p, 1, bytes);
        meta_free(p);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(outside == 0);
  CHECK(meta_allocate(std::size_t{1} << 45) == nullptr);
  meta_free(nullptr);
}

TEST_CASE("what a thousand threads leave behind is freed by another, and its memory is used again") {
  std::uintptr_t lowest = UINTPTR_MAX;
  std::uintptr_t highest = 0;
  for (int i = 0; i < 1'000; ++i) {
    void* block = nullptr;
    std::thread([&block, i] {
      block = meta_allocate(100'000);
      if (i % 2 == 0) meta_end_thread();  // as a thread of the process does before mimalloc's own end
      meta_free(meta_allocate(1'000));
    }).join();
    REQUIRE(block != nullptr);
    REQUIRE(is_inside(block));
    std::memset(block, 1, 100'000);
    lowest = std::min(lowest, reinterpret_cast<std::uintptr_t>(block));
    highest = std::max(highest, reinterpret_cast<std::uintptr_t>(block));
    meta_free(block);
  }
  CHECK(highest - lowest < std::size_t{1} << 30);
}

TEST_CASE("a forked child can allocate") {
  void* const before = meta_allocate(100);
  const pid_t child = fork();
  if (child == 0) {
    void* const p = meta_allocate(100);
    _exit(p != nullptr && is_inside(p) && p != before ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  meta_free(before);
}

TEST_CASE("a vector grows, moves and adds one of its own elements") {
  MetaVector<int> v;
  for (int i = 0; i < 10'000; ++i) REQUIRE(v.push_back(i));
  REQUIRE(v.push_back(v[17]));
  CHECK(v.size() == 10'001);
  CHECK(v.pop_back() == 17);
  MetaVector<int> w(std::move(v));
  CHECK(v.empty());
  CHECK(w[9'999] == 9'999);
  w.truncate(3);
  CHECK(w.size() == 3);
  v = std::move(w);
  CHECK(v[2] == 2);
  CHECK(!v.reserve(std::size_t{1} << 44));
  CHECK(v[2] == 2);
}
