// Fast walks against libunwind's, frame by frame, on random chains of calls through every kind of frame that compilers
// make. Built without frame pointers. ARENA_UNWIND_CHAINS sets the number of chains.
#include "alloc/unwind.h"

#include <alloca.h>
#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <thread>

#include "tests/unit/random.h"
#include "tests/unit/walk_compare.h"

using namespace arenascan;
using alloc::kMaxFrames;
using test::Tally;
using test::use;

namespace {

// A chain of calls: each link is one of the functions below, which calls next() from a frame of its own kind.
struct Chain {
  test::Random random;
  std::size_t left;  // links to go
  Tally& tally;

  void next();
};

[[gnu::noinline]] void plain(Chain& chain) {
  chain.next();
  use(&chain);
}

[[gnu::noinline]] void many_registers(Chain& chain) {
  std::uint64_t a[8];
  for (std::uint64_t& word : a) word = chain.random.next();
  asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3]), "+r"(a[4]), "+r"(a[5]));
  chain.next();
  asm volatile("" : : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]));
}

// Uses rbp as an ordinary register.
[[gnu::noinline]] void clobbers_fp(Chain& chain) {
#if defined(__OPTIMIZE__)
  asm volatile("xor %%ebp, %%ebp" : : : "rbp");
#endif
  chain.next();
  use(&chain);
}

[[gnu::noinline]] void variable_frame(Chain& chain) {
  const std::size_t bytes = 1 + chain.random.below(3000);
  void* const memory = alloca(bytes);
  use(memory);
  chain.next();
  use(memory);
}

[[gnu::noinline]] void big_frame(Chain& chain) {
  char memory[20'000];
  use(memory);
  chain.next();
  use(memory);
}

[[gnu::noinline]] void aligned_frame(Chain& chain) {
  alignas(64) char memory[192];
  use(memory);
  chain.next();
  use(memory);
}

// With an argument on the stack, which gcc reaches through a register of its own when the frame is realigned.
[[gnu::noinline]] void aligned_variable_frame(Chain& chain, int, int, int, int, int, const int on_stack) {
  alignas(64) char memory[64];
  void* const more = alloca(static_cast<std::size_t>(on_stack) + chain.random.below(500));
  use(memory);
  use(more);
  chain.next();
  use(memory);
  use(more);
  use(&on_stack);
}

[[gnu::noinline]] void many_arguments(Chain& chain, long a, long b, long c, long d, long e, long f, long g, long h) {
  chain.next();
  const long sum = a + b + c + d + e + f + g + h;
  use(&sum);
}

[[gnu::noinline]] void recursion(Chain& chain, std::uint64_t depth) {
  if (depth == 0) {
    chain.next();
  } else {
    recursion(chain, depth - 1);
  }
  use(&depth);
}

[[gnu::noinline]] void early_return(Chain& chain, bool never) {
  if (never) return;  // shrink-wrapped: the frame is made behind this
  chain.next();
  use(&chain);
}

[[gnu::noinline]] void std_sort(Chain& chain) {
  std::array<int, 40> numbers{};
  for (int& number : numbers) number = static_cast<int>(chain.random.below(100));
  bool is_called = false;
  std::sort(numbers.begin(), numbers.end(), [&](int left, int right) {
    if (!is_called) {
      is_called = true;
      chain.next();
    }
    return left < right;
  });
  use(numbers.data());
}

thread_local Chain* t_chain = nullptr;  // for callbacks without an argument

int qsort_order(const void* left, const void* right) {
  if (Chain* const chain = t_chain; chain != nullptr) {
    t_chain = nullptr;
    chain->next();
  }
  return *static_cast<const int*>(left) - *static_cast<const int*>(right);
}

[[gnu::noinline]] void libc_qsort(Chain& chain) {
  int numbers[] = {5, 3, 4, 1, 2, 9, 8, 7};
  t_chain = &chain;
  qsort(numbers, std::size(numbers), sizeof(int), qsort_order);
  use(numbers);
}

struct NextAtEnd {
  Chain& chain;
  ~NextAtEnd() noexcept(false) {
    chain.next();
    use(this);
  }
};

[[gnu::noinline]] void throws(Chain& chain) {
  const NextAtEnd at_end{chain};
  throw 1;
}

[[gnu::noinline]] void exception_unwinding(Chain& chain) {
  try {
    throws(chain);
  } catch (int) {
    use(&chain);
  }
}

[[gnu::noinline]] void in_handler_of_exception(Chain& chain) {
  try {
    throw 1;
  } catch (int) {
    chain.next();
  }
}

[[gnu::noinline]] void std_function(Chain& chain) {
  const std::function<void(int)> call = [&chain](int number) {
    chain.next();
    use(&number);
  };
  call(1);
  use(&call);
}

struct Base {
  virtual ~Base() = default;
  virtual void call(Chain& chain) = 0;
};
struct Derived : Base {
  void call(Chain& chain) override { plain(chain); }
};

[[gnu::noinline]] void virtual_call(Chain& chain) {
  Derived derived;
  Base* base = &derived;
  asm volatile("" : "+r"(base));
  base->call(chain);
  use(base);
}

void on_chain_signal(int) {
  Chain* const chain = t_chain;
  t_chain = nullptr;
  if (chain != nullptr) chain->next();
  use(chain);
}

[[gnu::noinline]] void signal_on_this_stack(Chain& chain) {
  t_chain = &chain;
  raise(SIGUSR1);
  use(&chain);
}

[[gnu::noinline]] void signal_on_alternate_stack(Chain& chain) {
  t_chain = &chain;
  raise(SIGUSR2);
  use(&chain);
}

[[gnu::noinline]] void another_thread(Chain& chain) {
  std::thread([&chain] {
    const test::AlternateStack alternate;  // a sanitizer's own is too small for the frames of this test
    chain.next();
  }).join();
}

constexpr void (*kLinks[])(Chain&) = {
    plain,
    many_registers,
    clobbers_fp,
    variable_frame,
    big_frame,
    aligned_frame,
    [](Chain& chain) { aligned_variable_frame(chain, 1, 2, 3, 4, 5, 60); },
    [](Chain& chain) { many_arguments(chain, 1, 2, 3, 4, 5, 6, 7, 8); },
    [](Chain& chain) { recursion(chain, chain.random.below(6)); },
    [](Chain& chain) { early_return(chain, false); },
    std_sort,
    libc_qsort,
    exception_unwinding,
    in_handler_of_exception,
    std_function,
    virtual_call,
    another_thread,
    signal_on_this_stack,  // these two stand last
    signal_on_alternate_stack,
};

void Chain::next() {
  if (left == 0) {
    test::compare(tally, 1 + random.below(kMaxFrames));
    test::compare(tally);
    test::count_complex_frames(tally);
    return;
  }
  --left;
  kLinks[random.below(std::size(kLinks) - (test::kHasPromptSignals ? 0 : 2))](*this);
  use(this);
}

void run_chains(std::uint64_t seed, std::uint64_t count, Tally& tally) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Chain chain{test::Random(seed + i), 0, tally};
    chain.left = chain.random.below(16);
    chain.next();
  }
}

}  // namespace

TEST_CASE("unwind: random chains of calls, as libunwind sees them") {
  const test::AlternateStack alternate;
  const test::Handler here(SIGUSR1, on_chain_signal, SA_NODEFER);
  const test::Handler there(SIGUSR2, on_chain_signal, SA_NODEFER | SA_ONSTACK);
  const std::uint64_t count = test::length_from("ARENA_UNWIND_CHAINS", 4'000);
  Tally tally;
  run_chains(1, count, tally);
  test::check(tally, 2 * count);
  CHECK(tally.deepest >= kMaxFrames - 16);
}

TEST_CASE("unwind: threads walk at once, with and without a known end of their stack, rules retired meanwhile") {
  constexpr std::size_t kThreads = 4;
  const test::Handler here(SIGUSR1, on_chain_signal, SA_NODEFER);
  const test::Handler there(SIGUSR2, on_chain_signal, SA_NODEFER | SA_ONSTACK);
  std::array<Tally, kThreads> tallies{};
  std::array<std::thread, kThreads> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads[t] = std::thread([t, &tallies] {
      const test::AlternateStack alternate;
      if (t % 2 == 0) {
        pthread_attr_t attributes;
        void* begin = nullptr;
        std::size_t bytes = 0;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &begin, &bytes);
        pthread_attr_destroy(&attributes);
        alloc::unwind_set_stack_end(reinterpret_cast<std::uintptr_t>(begin) + bytes);
      }
      run_chains(1'000'000 * (t + 1), 300, tallies[t]);
    });
  }
  for (int i = 0; i < 600; ++i) {
    alloc::unwind_forget_modules();
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tally& tally : tallies) test::check(tally, 600);
}

TEST_CASE("unwind: no room, little room") {
  std::uintptr_t frames[4] = {1, 2, 3, 4};
  alloc::Trail trail;
  const alloc::FrameState nowhere{reinterpret_cast<std::uintptr_t>(&run_chains) + 1, 0, 0};
  CHECK(alloc::unwind(nowhere, frames, 0, trail) == 0);
  CHECK(frames[0] == 1);
  CHECK(alloc::unwind(nowhere, frames, 1, trail) == 1);
  CHECK(frames[0] == nowhere.pc);
  CHECK(frames[1] == 2);
}

TEST_CASE("unwind: a walk that does not start in known code, or on no stack, ends at once") {
  alignas(16) std::uintptr_t stack[8] = {};
  std::uintptr_t frames[8];
  alloc::Trail trail;
  const auto sp = reinterpret_cast<std::uintptr_t>(stack);
  CHECK(alloc::unwind({16, sp, 0}, frames, 8, trail) == 1);        // code of no module, no frame pointer
  CHECK(alloc::unwind({16, sp, sp + 3}, frames, 8, trail) == 1);   // misaligned one
  CHECK(alloc::unwind({16, sp, sp - 64}, frames, 8, trail) == 1);  // below the stack pointer
  CHECK(alloc::unwind({16, sp, ~std::uintptr_t{7}}, frames, 8, trail) == 1);
  CHECK(trail.count == 0);
}

TEST_CASE("unwind: code of no module is walked by frame pointers") {
  alignas(16) std::uintptr_t stack[8] = {};
  const auto at = [&](std::size_t i) { return reinterpret_cast<std::uintptr_t>(&stack[i]); };
  stack[2] = at(5);
  stack[3] = 32;
  stack[5] = 0;
  stack[6] = 48;
  std::uintptr_t frames[8] = {};
  alloc::Trail trail;
  CHECK(alloc::unwind({16, at(0), at(2)}, frames, 8, trail) == 3);
  CHECK(frames[0] == 16);
  CHECK(frames[1] == 32);
  CHECK(frames[2] == 48);
}

// A module's own assembly that says nothing to an unwinder, as the built-in functions of a JavaScript engine.
extern "C" void arenascan_undescribed_call(void (*function)(void*), void* argument);
asm(R"(
  .text
  .type arenascan_undescribed_call, @function
arenascan_undescribed_call:
  push %rbp
  mov %rsp, %rbp
  mov %rdi, %rax
  mov %rsi, %rdi
  call *%rax
  pop %rbp
  ret
  .size arenascan_undescribed_call, .-arenascan_undescribed_call
)");

TEST_CASE("unwind: code of a module without an unwind entry is walked by frame pointers, not by libunwind") {
  struct Seen {
    std::uintptr_t frames[8] = {};
    std::size_t count = 0;
    alloc::Trail trail;
  } seen;
  const auto walk = [](void* argument) {
    auto& to = *static_cast<Seen*>(argument);
    const auto own_frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const auto* const frame = reinterpret_cast<const std::uintptr_t*>(own_frame);
    to.count = alloc::unwind({frame[1], own_frame + 2 * sizeof(std::uintptr_t), frame[0]}, to.frames, 8, to.trail);
  };
  arenascan_undescribed_call(walk, &seen);
  CHECK(seen.trail.usable);  // libunwind leaves none
  CHECK(seen.count >= 2);
  CHECK(seen.frames[0] - reinterpret_cast<std::uintptr_t>(&arenascan_undescribed_call) < 16);
}
