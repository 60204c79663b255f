// The table of call stacks against a std::map, from several threads at once, and when it is full.
#include "alloc/stack_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/random.h"

using namespace arenascan;
using alloc::kNoStack;
using alloc::StackId;
using alloc::StackTable;
using test::Random;
using Frames = std::vector<std::uintptr_t>;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

struct OwnTable : StackTable {
  explicit OwnTable(std::size_t bytes) { REQUIRE(init(bytes)); }
  ~OwnTable() { destroy(); }
};

// Few different frames, so that stacks share beginnings and ends, as real ones do.
Frames random_stack(Random& random) {
  Frames frames(1 + random.below(random.one_in(10) ? 64 : 6));
  for (std::uintptr_t& frame : frames) frame = 0x400000 + random.below(8) * 5;
  return frames;
}

bool holds(const StackTable& table, StackId id, const Frames& wanted) {
  const auto found = table.frames(id);
  return std::equal(found.begin(), found.end(), wanted.begin(), wanted.end());
}

}  // namespace

TEST_CASE("stack_table: nothing, one stack, and stacks that differ in one place") {
  OwnTable table(4 * kMiB);
  CHECK(table.intern({}) == kNoStack);
  CHECK(table.frames(kNoStack).empty());
  CHECK(table.stats().stacks == 0);

  const Frames base{1, 2, 3};
  const StackId id = table.intern(base);
  CHECK(id != kNoStack);
  CHECK(table.intern(base) == id);
  const std::array<Frames, 6> others{Frames{1, 2},       Frames{1, 2, 4},    Frames{2, 1, 3},
                                     Frames{0, 1, 2, 3}, Frames{1, 2, 3, 0}, Frames{3, 2, 1}};
  std::set<StackId> ids{id};
  for (const Frames& other : others) {
    ids.insert(table.intern(other));
    CHECK(holds(table, table.intern(other), other));
  }
  CHECK(ids.size() == 1 + others.size());
  CHECK_FALSE(ids.contains(kNoStack));
  CHECK(holds(table, id, base));
  CHECK(table.stats().stacks == ids.size());
  CHECK(table.stats().dropped == 0);
}

TEST_CASE("stack_table: an uninitialised table knows no stack") {
  StackTable table;
  CHECK(table.intern(Frames{1, 2}) == kNoStack);
  CHECK(table.frames(kNoStack).empty());
  CHECK(table.stats().stacks == 0);
  CHECK_FALSE(table.init(4096));  // too little to be of use
  CHECK(table.intern(Frames{1, 2}) == kNoStack);
}

TEST_CASE("stack_table: random stacks against a map, across many growth steps") {
  OwnTable table(256 * kMiB);
  Random random(3);
  std::map<Frames, StackId> model;
  for (std::uint64_t steps = test::length_from("ARENA_STACK_STEPS", 100'000); steps != 0; --steps) {
    const Frames frames = random_stack(random);
    const StackId id = table.intern(frames);
    if (const auto [known, is_new] = model.try_emplace(frames, id); !is_new && known->second != id) {
      FAIL("one stack got two ids");
    }
  }
  std::set<StackId> ids;
  for (const auto& [frames, id] : model) {
    ids.insert(id);
    if (!holds(table, id, frames)) FAIL("an id names another stack");
  }
  CHECK_FALSE(ids.contains(kNoStack));
  CHECK(ids.size() == model.size());
  const StackTable::Stats stats = table.stats();
  CHECK(stats.stacks == model.size());
  CHECK(stats.bytes > 2 * kMiB);
  CHECK(stats.dropped == 0);
}

TEST_CASE("stack_table: eight threads with the same and with different stacks") {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kStepsEach = 10'000;
  OwnTable table(256 * kMiB);
  std::array<std::map<Frames, StackId>, kThreads> models;
  std::array<std::uint64_t, kThreads> contradictions{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random common(11);  // the same sequence in every thread: they race for each of these
      Random own(100 + t);
      for (std::size_t step = 0; step < kStepsEach; ++step) {
        const Frames frames = random_stack(step % 2 == 0 ? common : own);
        const StackId id = table.intern(frames);
        const auto [known, is_new] = models[t].try_emplace(frames, id);
        if (id == kNoStack || known->second != id || !holds(table, id, frames)) ++contradictions[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  std::map<Frames, StackId> all;
  std::set<StackId> ids;
  for (std::size_t t = 0; t < kThreads; ++t) {
    CHECK(contradictions[t] == 0);
    for (const auto& [frames, id] : models[t]) {
      if (const auto [known, is_new] = all.try_emplace(frames, id); known->second != id) FAIL("two ids for one stack");
      ids.insert(id);
    }
  }
  CHECK(ids.size() == all.size());
  CHECK(table.stats().stacks == all.size());
  CHECK(table.stats().dropped == 0);
  for (const auto& [frames, id] : all) {
    if (!holds(table, id, frames)) FAIL("an id names another stack");
  }
}

TEST_CASE("stack_table: a full table drops new stacks, counts them and keeps the old ones") {
  OwnTable table(kMiB);
  const auto stack = [](std::uintptr_t i) {
    Frames frames(20);
    for (std::size_t depth = 0; depth < frames.size(); ++depth) frames[depth] = i * 1000 + depth + 1;
    return frames;
  };
  constexpr std::uintptr_t kTried = 10'000;
  std::vector<StackId> ids;
  for (std::uintptr_t i = 0; i < kTried; ++i) ids.push_back(table.intern(stack(i)));
  const auto kept = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), kNoStack) - ids.begin());
  CHECK(kept > 3000);  // three quarters of the range are records, of 176 bytes
  CHECK(kept < 6000);
  CHECK(std::count(ids.begin(), ids.end(), kNoStack) == static_cast<std::ptrdiff_t>(kTried - kept));
  CHECK(table.stats().stacks == kept);
  CHECK(table.stats().dropped == kTried - kept);
  CHECK(table.stats().bytes <= kMiB);
  for (std::uintptr_t i = 0; i < kept; ++i) {
    if (table.intern(stack(i)) != ids[i] || !holds(table, ids[i], stack(i))) FAIL("a stored stack was lost");
  }
  CHECK(table.stats().stacks == kept);
}
