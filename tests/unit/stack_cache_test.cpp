// The stack cache: it knows what was walked before, and never names a stack that a walk would not find.
#include <doctest/doctest.h>

#include <alloca.h>

#include <array>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "alloc/stack_cache.h"
#include "tests/unit/random.h"
#include "tests/unit/walk_compare.h"

using namespace arenascan;

namespace {

struct Fixture {
  Fixture() {
    REQUIRE(tables.stacks.init(std::size_t{1} << 26));
    REQUIRE(tables.trails.init(std::size_t{1} << 26));
  }
  ~Fixture() {
    tables.stacks.destroy();
    tables.trails.destroy();
  }
  alloc::StackTables tables;
};

// One thread's view: its cache, and how it fared.
struct Thread {
  alloc::StackTables* tables;
  alloc::UnwindBy by = alloc::UnwindBy::kRules;
  alloc::StackCache cache{};
  std::uint64_t hits = 0, misses = 0, wrong = 0, without_trail = 0;
  std::uintptr_t top = 0;  // when set, the stack from the caller up to here is copied
  std::uintptr_t sp = 0;   // where that begins
  std::vector<std::uintptr_t> copied{};
};

[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void copy_stack(Thread& thread) {
  thread.copied.clear();
  for (std::uintptr_t at = thread.sp; at < thread.top; at += sizeof(at)) {
    const std::uintptr_t word = *reinterpret_cast<const volatile std::uintptr_t*>(at);
    thread.copied.push_back(word);
  }
}

// Stands for an entry point of the allocator: asks the cache, walks as well, compares.
[[gnu::noinline]] alloc::StackId entry(Thread& thread) {
  const alloc::Origin origin = ARENA_ORIGIN(&entry);
  const alloc::StackId known = thread.cache.find(origin);
  std::array<std::uintptr_t, alloc::kMaxFrames> frames;
  alloc::Trail trail;
  frames[0] = origin.entry_frame();
  const std::size_t count = 1 + alloc::unwind(origin.caller(), frames.data() + 1, frames.size() - 1, trail, thread.by);
  const alloc::StackId walked = thread.tables->stacks.intern({frames.data(), count});
  if (known == alloc::kNoStack) {
    ++thread.misses;
    thread.without_trail += trail.usable ? 0 : 1;
    thread.cache.remember(*thread.tables, origin, walked, trail);
  } else {
    ++thread.hits;
    thread.wrong += known == walked ? 0 : 1;
  }
  if (thread.top != 0) {
    thread.sp = origin.caller().sp;
    copy_stack(thread);
  }
  asm volatile("" : : : "memory");  // the call above is no jump
  return walked;
}

// Callers with frames of different kinds, which call each other in any order: of fixed size, of a size only known when
// they run (found by rbp), and realigned ones.
using Chain = std::span<const std::uint8_t>;
alloc::StackId call(Thread& thread, Chain chain);

[[gnu::noinline]] alloc::StackId fixed(Thread& thread, Chain chain) {
  volatile char room[40];
  room[0] = 1;
  return call(thread, chain.subspan(1)) + (room[0] - 1);
}
[[gnu::noinline]] alloc::StackId sized(Thread& thread, Chain chain) {
  auto* const room = static_cast<volatile char*>(alloca(16 + chain[0] * 8));
  room[0] = 1;
  return call(thread, chain.subspan(1)) + (room[0] - 1);
}
[[gnu::noinline]] alloc::StackId realigned(Thread& thread, Chain chain) {
  alignas(64) volatile char room[64];
  room[0] = 1;
  return call(thread, chain.subspan(1)) + (room[0] - 1);
}
template <int kNumber>
[[gnu::noinline]] alloc::StackId plain(Thread& thread, Chain chain) {
  const alloc::StackId found = call(thread, chain.subspan(1));
  asm volatile("" : : "r"(kNumber) : "memory");  // compilers merge functions that are the same
  return found;
}

[[gnu::noinline]] alloc::StackId call(Thread& thread, Chain chain) {
  alloc::StackId found = alloc::kNoStack;
  if (chain.empty()) {
    found = entry(thread);
  } else {
    switch (chain[0] % 8) {
      case 0: found = fixed(thread, chain); break;
      case 1: found = sized(thread, chain); break;
      case 2: found = realigned(thread, chain); break;
      case 3: found = plain<3>(thread, chain); break;
      case 4: found = plain<4>(thread, chain); break;
      case 5: found = plain<5>(thread, chain); break;
      case 6: found = plain<6>(thread, chain); break;
      default: found = plain<7>(thread, chain); break;
    }
  }
  asm volatile("" : : : "memory");
  return found;
}

void run_chains(Thread& thread, std::uint64_t seed, int rounds) {
  test::Random random(seed);
  std::vector<std::vector<std::uint8_t>> chains(200);
  for (auto& chain : chains) {
    chain.resize(random.below(20));
    for (std::uint8_t& link : chain) link = static_cast<std::uint8_t>(random.next());
  }
  for (int i = 0; i < rounds; ++i) call(thread, chains[random.one_in(10) ? random.below(200) : random.below(20)]);
}

// A frame with room for `words`, which are filled from `stack`. Returns where the room begins.
[[gnu::noinline]] std::uintptr_t impersonate(Thread& thread, std::size_t words, std::span<const std::uintptr_t> stack,
                                             bool nested) {
  auto* const room = static_cast<std::uintptr_t*>(alloca(words * sizeof(std::uintptr_t)));
  for (std::size_t i = 0; i < words; ++i) {
    static_cast<volatile std::uintptr_t*>(room)[i] = i < stack.size() ? stack[i] : 0;
  }
  static constexpr std::uint8_t kSized[] = {1};
  call(thread, nested ? Chain(kSized) : Chain());
  asm volatile("" : : "r"(room) : "memory");
  return reinterpret_cast<std::uintptr_t>(room);
}
using Way = std::uintptr_t (*)(Thread&, std::size_t, std::span<const std::uintptr_t>, bool);
template <int kNumber>
[[gnu::noinline]] std::uintptr_t way(Thread& thread, std::size_t words, std::span<const std::uintptr_t> stack,
                                     bool nested) {
  const std::uintptr_t room = impersonate(thread, words, stack, nested);
  asm volatile("" : : "r"(kNumber) : "memory");
  return room;
}
[[gnu::noinline]] std::uintptr_t lower(std::size_t by_words, Way go, Thread& thread, std::size_t words,
                                       std::span<const std::uintptr_t> stack, bool nested) {
  auto* const room = static_cast<volatile std::uintptr_t*>(alloca(by_words * sizeof(std::uintptr_t)));
  const std::uintptr_t result = go(thread, words, stack, nested);
  asm volatile("" : : "r"(room) : "memory");
  return result;
}

}  // namespace

// The first stack is lower() and way<1>; the second way<2>, with a frame so large that it covers the difference, and in
// it, word by word, what the first one held there. Only the frame pointers tell.
TEST_CASE_FIXTURE(Fixture, "a stack that holds a copy of another at the same address is not taken for it") {
  constexpr std::size_t kWords = 512;
  for (const bool nested : {false, true}) {
    Thread thread{&tables};
    std::vector<std::uintptr_t> stack;
    thread.top = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const volatile int times = 4;
    std::uintptr_t sp[4];
    for (int i = 0; i < times; ++i) {
      const bool is_first = i < 2;
      const std::uintptr_t room =
          lower(is_first ? kWords : 0, is_first ? way<1> : way<2>, thread, is_first ? 8 : 8 + kWords, stack, nested);
      sp[i] = thread.sp;
      const auto skipped = static_cast<std::ptrdiff_t>((room - thread.sp) / sizeof(std::uintptr_t));
      if (i == 1) stack.assign(thread.copied.begin() + skipped, thread.copied.end());
    }
    CHECK(sp[1] == sp[2]);
    CHECK(thread.wrong == 0);
    CHECK(thread.hits == 2);
    CHECK(thread.misses == 2);
  }
}

TEST_CASE_FIXTURE(Fixture, "random chains of frames of all kinds: most are known, none is named wrongly") {
  Thread thread{&tables};
  run_chains(thread, 1, 50'000);
  CHECK(thread.wrong == 0);
  CHECK(thread.without_trail == 0);
  CHECK(thread.hits > 40'000);
}

TEST_CASE_FIXTURE(Fixture, "the same with frame pointers alone") {
  Thread thread{&tables, alloc::UnwindBy::kFramePointers};
  run_chains(thread, 2, 20'000);
  CHECK(thread.wrong == 0);
}

// Which entries of the cache they fall into depends on where the system put the stack; so the best of four depths
// counts.
TEST_CASE_FIXTURE(Fixture, "a call site at one depth with hundreds of histories") {
  std::size_t most_hits = 0;
  for (std::size_t links = 14; links < 18; ++links) {
    Thread thread{&tables};
    std::vector<std::uint8_t> chain(links, 3);
    const volatile int rounds = 3;  // so that the loop stays one call site
    for (int round = 0; round < rounds; ++round) {
      for (unsigned history = 0; history < 256; ++history) {
        for (unsigned bit = 0; bit < 8; ++bit) chain[bit] = (history >> bit & 1) != 0 ? 3 : 4;
        call(thread, chain);
      }
    }
    CHECK(thread.wrong == 0);
    CHECK(thread.without_trail == 0);
    most_hits = std::max<std::size_t>(most_hits, thread.hits);
  }
  CHECK(most_hits > 340);  // of 512 that it has seen before
}

// Three entries of one set push each other out: by chance, at one depth in 170. So two of four depths may differ.
TEST_CASE_FIXTURE(Fixture, "a stack that lies behind more forks than a search follows is known all the same") {
  constexpr std::size_t kForks = 22;
  int depths_known = 0;
  for (std::size_t links = kForks; links < kForks + 4; ++links) {
    Thread thread{&tables};
    const volatile int rounds = 3;
    std::vector<std::uint8_t> chain(links, 3);
    for (std::size_t i = kForks; i > 0; --i) {  // each forks off from the one before, one call further out
      chain[i - 1] = 4;
      for (int round = 0; round < rounds; ++round) call(thread, chain);
    }
    CHECK(thread.wrong == 0);
    CHECK(thread.without_trail == 0);
    CHECK(thread.hits + thread.misses == 3 * kForks);
    depths_known += thread.hits == 2 * kForks ? 1 : 0;
  }
  CHECK(depths_known >= 2);
}

TEST_CASE_FIXTURE(Fixture, "what one recursion has left on the stack does not mislead the next") {
  Thread thread{&tables};
  std::vector<std::uint8_t> chain;
  for (int round = 0; round < 20; ++round) {
    chain.assign(static_cast<std::size_t>(1 + round % 7), static_cast<std::uint8_t>(round % 2 == 0 ? 3 : 1));
    for (int i = 0; i < 50; ++i) {
      call(thread, chain);
      chain.push_back(static_cast<std::uint8_t>(3 + i % 5));
    }
  }
  CHECK(thread.wrong == 0);
  CHECK(thread.hits > 0);
}

TEST_CASE_FIXTURE(Fixture, "a cache that another thread has filled is right on this thread's stack") {
  Thread thread{&tables};
  std::thread([&] { run_chains(thread, 5, 5'000); }).join();
  CHECK(thread.wrong == 0);
  run_chains(thread, 5, 5'000);
  CHECK(thread.wrong == 0);
}

TEST_CASE_FIXTURE(Fixture, "when modules are forgotten, so is what the cache knows") {
  Thread thread{&tables};
  const std::vector<std::uint8_t> chain(5, 3);
  const auto three_times = [&] {
    const volatile int times = 3;  // so that the loop stays one call site
    for (int i = 0; i < times; ++i) call(thread, chain);
  };
  three_times();
  CHECK(thread.misses == 1);
  alloc::unwind_forget_modules();
  three_times();
  CHECK(thread.misses == 2);
  CHECK(thread.hits == 4);
}
