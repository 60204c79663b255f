// Fast walks against libunwind's, frame by frame: on random chains of calls through every kind of frame that compilers
// make, in code without frame pointers, from signal handlers, and at single instructions.
#include <alloca.h>
#include <doctest/doctest.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <thread>

#include "alloc/cfi.h"
#include "alloc/unwind.h"
#include "tests/unit/random.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

using namespace arenascan;
using alloc::kMaxFrames;
using Frames = std::array<std::uintptr_t, kMaxFrames + 2>;

namespace {

// What walks have found so far. Written from handlers and other threads, one at a time.
struct Tally {
  std::uint64_t walks = 0;
  std::uint64_t different = 0;
  std::uint64_t complex_frames = 0;  // of this program's, without a rule
  std::size_t deepest = 0;
  Frames fast{};  // of the first walk that differed
  Frames slow{};
};

// Whether the fast path knows how to step out of a frame of this program.
bool is_complex_here(std::uintptr_t return_address) {
  dl_find_object module{}, own{};
  if (_dl_find_object(reinterpret_cast<void*>(return_address), &module) != 0) return false;
  if (_dl_find_object(reinterpret_cast<void*>(&is_complex_here), &own) != 0) return false;
  if (module.dlfo_link_map != own.dlfo_link_map) return false;
  const std::byte* const fde = alloc::find_fde(static_cast<const std::byte*>(module.dlfo_eh_frame), return_address - 1);
  return fde == nullptr || alloc::evaluate(fde, return_address - 1).kind == alloc::UnwindRule::Kind::kComplex;
}

// Walks both ways from the caller outwards, and notes what differs.
[[gnu::noinline]] void compare(Tally& tally, std::size_t capacity = kMaxFrames) {
  Frames fast{}, slow{};
  const int saved_errno = errno;
  errno = 4711;
  const std::size_t fast_depth = alloc::unwind(ARENA_CALLER_STATE(), fast.data(), capacity);
  const bool kept_errno = errno == 4711;
  errno = saved_errno;
  const std::size_t slow_depth = alloc::unwind_slow(slow.data(), capacity + 1) - 1;  // this function is in front
  ++tally.walks;
  tally.deepest = std::max(tally.deepest, fast_depth);
  if (kept_errno && fast_depth == slow_depth && std::equal(fast.begin(), fast.begin() + fast_depth, slow.begin() + 1)) {
    return;
  }
  if (tally.different++ == 0) {
    tally.fast = fast;
    std::copy(slow.begin() + 1, slow.end(), tally.slow.begin());
  }
}

void count_complex_frames(Tally& tally) {
  Frames frames{};
  const std::size_t depth = alloc::unwind_slow(frames.data(), kMaxFrames);
  for (std::size_t i = 0; i < depth; ++i) tally.complex_frames += is_complex_here(frames[i]);
}

void check(const Tally& tally, std::uint64_t at_least) {
  CHECK(tally.walks >= at_least);
  CHECK(tally.different == 0);
  CHECK(tally.complex_frames == 0);
  MESSAGE("walks: " << tally.walks << ", deepest: " << tally.deepest);
  if (tally.different == 0) return;
  for (std::size_t i = 0; i < kMaxFrames; ++i) {
    const std::uintptr_t fast = tally.fast[i], slow = tally.slow[i];
    if (fast == slow) continue;
    Dl_info info{};
    dladdr(reinterpret_cast<void*>(slow), &info);
    MESSAGE("frame " << i << ": fast " << fast << ", slow " << slow << " in "
                     << (info.dli_sname != nullptr ? info.dli_sname : "?"));
    break;
  }
}

// A chain of calls: each link is one of the functions below, which calls next() from a frame of its own kind.
struct Chain {
  test::Random random;
  std::size_t left;  // links to go
  Tally& tally;

  void next();
};

// Makes the compiler believe that memory is used here: what is called before cannot be a tail call.
inline void use(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

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
#if defined(__OPTIMIZE__) && defined(__GNUC__)
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
  std::thread([&chain] { chain.next(); }).join();
}

void Chain::next() {
  if (left == 0) {
    compare(tally, 1 + random.below(kMaxFrames));
    compare(tally);
    count_complex_frames(tally);
    return;
  }
  --left;
  switch (random.below(40)) {
    case 0: another_thread(*this); break;
    case 1: case 2: signal_on_this_stack(*this); break;
    case 3: case 4: signal_on_alternate_stack(*this); break;
    case 5: case 6: exception_unwinding(*this); break;
    case 7: case 8: in_handler_of_exception(*this); break;
    case 9: case 10: std_sort(*this); break;
    case 11: case 12: libc_qsort(*this); break;
    case 13: case 14: recursion(*this, random.below(6)); break;
    case 15: case 16: std_function(*this); break;
    case 17: case 18: virtual_call(*this); break;
    case 19: case 20: case 21: aligned_variable_frame(*this, 1, 2, 3, 4, 5, 60); break;
    case 22: case 23: case 24: aligned_frame(*this); break;
    case 25: case 26: case 27: variable_frame(*this); break;
    case 28: case 29: big_frame(*this); break;
    case 30: case 31: many_arguments(*this, 1, 2, 3, 4, 5, 6, 7, 8); break;
    case 32: case 33: early_return(*this, false); break;
    case 34: case 35: case 36: many_registers(*this); break;
    case 37: clobbers_fp(*this); break;
    default: plain(*this);
  }
  use(this);
}

// A handler for as long as the object lives.
class Handler {
 public:
  Handler(int signal, void (*handler)(int), int flags) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    REQUIRE(sigaction(signal, &action, &before_) == 0);
  }
  ~Handler() { sigaction(signal_, &before_, nullptr); }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

 private:
  int signal_;
  struct sigaction before_ {};
};

class AlternateStack {
 public:
  AlternateStack() {
    memory_ = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
    const stack_t stack{memory_, 0, kBytes};
    REQUIRE(sigaltstack(&stack, &before_) == 0);
  }
  ~AlternateStack() {
    sigaltstack(&before_, nullptr);
    munmap(memory_, kBytes);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;
  void* memory_ = nullptr;
  stack_t before_{};
};

void run_chains(std::uint64_t seed, std::uint64_t count, Tally& tally) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Chain chain{test::Random(seed + i), 0, tally};
    chain.left = chain.random.below(16);
    chain.next();
  }
}

}  // namespace

TEST_CASE("unwind: random chains of calls, as libunwind sees them") {
  const AlternateStack alternate;
  const Handler here(SIGUSR1, on_chain_signal, SA_NODEFER);
  const Handler there(SIGUSR2, on_chain_signal, SA_NODEFER | SA_ONSTACK);
  const std::uint64_t count = test::length_from("ARENA_UNWIND_CHAINS", 4'000);
  Tally tally;
  run_chains(1, count, tally);
  check(tally, 2 * count);
  CHECK(tally.deepest == kMaxFrames);
}

TEST_CASE("unwind: threads walk at once, with and without a known end of their stack, rules retired meanwhile") {
  constexpr std::size_t kThreads = 4;
  const Handler here(SIGUSR1, on_chain_signal, SA_NODEFER);
  const Handler there(SIGUSR2, on_chain_signal, SA_NODEFER | SA_ONSTACK);
  std::array<Tally, kThreads> tallies{};
  std::array<std::thread, kThreads> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads[t] = std::thread([t, &tallies] {
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
  for (const Tally& tally : tallies) check(tally, 600);
}

TEST_CASE("unwind: no room, little room") {
  std::uintptr_t frames[4] = {1, 2, 3, 4};
  const alloc::FrameState nowhere{reinterpret_cast<std::uintptr_t>(&run_chains) + 1, 0, 0};
  CHECK(alloc::unwind(nowhere, frames, 0) == 0);
  CHECK(frames[0] == 1);
  CHECK(alloc::unwind(nowhere, frames, 1) == 1);
  CHECK(frames[0] == nowhere.pc);
  CHECK(frames[1] == 2);
}

TEST_CASE("unwind: a walk that does not start in known code, or on no stack, ends at once") {
  alignas(16) std::uintptr_t stack[8] = {};
  std::uintptr_t frames[8];
  const auto sp = reinterpret_cast<std::uintptr_t>(stack);
  CHECK(alloc::unwind({16, sp, 0}, frames, 8) == 1);            // code of no module, no frame pointer
  CHECK(alloc::unwind({16, sp, sp + 3}, frames, 8) == 1);       // misaligned one
  CHECK(alloc::unwind({16, sp, sp - 64}, frames, 8) == 1);      // below the stack pointer
  CHECK(alloc::unwind({16, sp, ~std::uintptr_t{7}}, frames, 8) == 1);
}

TEST_CASE("unwind: code of no module is walked by frame pointers") {
  alignas(16) std::uintptr_t stack[8] = {};
  const auto at = [&](std::size_t i) { return reinterpret_cast<std::uintptr_t>(&stack[i]); };
  stack[2] = at(5);
  stack[3] = 32;
  stack[5] = 0;
  stack[6] = 48;
  std::uintptr_t frames[8] = {};
  CHECK(alloc::unwind({16, at(0), at(2)}, frames, 8) == 3);
  CHECK(frames[0] == 16);
  CHECK(frames[1] == 32);
  CHECK(frames[2] == 48);
}

#if defined(__x86_64__)
namespace {

Tally* g_tally = nullptr;
std::atomic<std::uint64_t> g_samples{0};

// The frames of the interrupted code, from a handler: at any instruction, also in prologues and epilogues.
[[gnu::noinline]] void on_sample(int) {
  compare(*g_tally);
  g_samples.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t leaf_work(std::uint64_t value) {
  asm volatile("" : "+r"(value));
  return value * 3 + 1;
}

[[gnu::noinline]] std::uint64_t stepped_leaf(std::uint64_t value) { return leaf_work(value); }

[[gnu::noinline]] std::uint64_t stepped_frame(std::uint64_t value, std::uint64_t depth) {
  std::uint64_t words[6] = {value, depth, 1, 2, 3, 4};
  use(words);
  if (depth != 0) words[0] += stepped_frame(value + words[2], depth - 1);
  return words[0] + stepped_leaf(words[1]) + stepped_leaf(words[3]);
}

[[gnu::noinline]] std::uint64_t stepped_aligned(std::uint64_t value) {
  alignas(64) std::uint64_t words[16];
  for (std::uint64_t& word : words) word = stepped_leaf(value++);
  use(words);
  return words[value % 16];
}

[[gnu::noinline]] std::uint64_t stepped_variable(std::uint64_t value) {
  auto* const words = static_cast<std::uint64_t*>(alloca(8 * (1 + value % 20)));
  words[0] = stepped_frame(value, 2);
  use(words);
  return words[0] + stepped_aligned(value);
}

void set_single_step(bool on) {
  constexpr std::uint64_t kTrapFlag = 0x100;
  std::uint64_t flags = __builtin_ia32_readeflags_u64();
  flags = on ? flags | kTrapFlag : flags & ~kTrapFlag;
  __builtin_ia32_writeeflags_u64(flags);
}

}  // namespace

TEST_CASE("unwind: from every single instruction of frames being made and taken down" * doctest::skip(kSanitized)) {
  Tally tally;
  g_tally = &tally;
  const Handler trap(SIGTRAP, on_sample, 0);
  const std::uint64_t before = g_samples.load();
  for (std::uint64_t value = 0; value < 5; ++value) {
    set_single_step(true);
    std::uint64_t result = stepped_variable(value);
    set_single_step(false);
    use(&result);
  }
  CHECK(g_samples.load() - before > 1000);
  check(tally, 1000);
}

TEST_CASE("unwind: from a timer's handler in code that sorts" * doctest::skip(kSanitized)) {
  Tally tally;
  g_tally = &tally;
  const AlternateStack alternate;
  const Handler timer(SIGPROF, on_sample, SA_RESTART | SA_ONSTACK);
  const std::uint64_t before = g_samples.load();
  const itimerval often{{0, 1000}, {0, 1000}};
  REQUIRE(setitimer(ITIMER_PROF, &often, nullptr) == 0);
  test::Random random(5);
  std::array<std::uint64_t, 1000> numbers{};
  for (int round = 0; round < 100'000 && g_samples.load() - before < 40; ++round) {
    for (std::uint64_t& number : numbers) number = random.next();
    std::sort(numbers.begin(), numbers.end());
    use(numbers.data());
  }
  const itimerval never{};
  REQUIRE(setitimer(ITIMER_PROF, &never, nullptr) == 0);
  check(tally, 10);
}
#endif
