// Bytes as the contents of a stack, walked as if a thread stood there: nothing outside of the stack is read
// (inaccessible memory lies around it), the walk ends, a second one finds the same, and each frame was left by the rule
// that the compiler's table gives. Then words of the stack are changed, one after the other: a cache of stacks that
// remembers each walk tells what a walk would find, or nothing.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "alloc/stack_cache.h"
#include "alloc/unwind.h"
#include "fuzz/require.h"

using namespace arenascan;
using fuzz::require;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackBytes = 4 * kPage;
constexpr std::size_t kWords = kStackBytes / sizeof(std::uintptr_t);
constexpr std::size_t kRedZoneWords = 16;

class Stack {
 public:
  Stack() {
    void* const memory = mmap(nullptr, kStackBytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED);
    words_ = reinterpret_cast<std::uintptr_t*>(static_cast<char*>(memory) + kPage);
    require(mprotect(words_, kStackBytes, PROT_READ | PROT_WRITE) == 0);
  }
  std::uintptr_t* words() { return words_; }
  [[nodiscard]] std::uintptr_t begin() const { return reinterpret_cast<std::uintptr_t>(words_); }

 private:
  std::uintptr_t* words_;
};

// What a word of a stack may be, by its lowest bits: an address in code of the program or the C library, an address in
// the stack, or anything.
std::uintptr_t word_of(std::uint64_t bits, const Stack& stack) {
  const std::array<std::uintptr_t, 4> code = {
      reinterpret_cast<std::uintptr_t>(&word_of), reinterpret_cast<std::uintptr_t>(&std::memcpy),
      reinterpret_cast<std::uintptr_t>(&alloc::unwind), reinterpret_cast<std::uintptr_t>(&mmap)};
  switch (bits % 4) {
    case 0: return bits >> 2;
    case 1: return stack.begin() + (bits >> 2) % (kStackBytes + kPage);
    default: return code[(bits >> 2) % code.size()] + (bits >> 4) % 4096;
  }
}

struct Frames {
  std::array<std::uintptr_t, alloc::kMaxFrames> frames{};
  std::size_t count = 0;
  friend bool operator==(const Frames&, const Frames&) = default;
};

Frames walk(const alloc::FrameState& state, alloc::UnwindBy by, alloc::Trail& trail) {
  Frames found;
  found.count = alloc::unwind(state, found.frames.data(), found.frames.size(), trail, by);
  require(found.count <= found.frames.size() && trail.count <= alloc::Trail::kMaxSteps);
  return found;
}

void check_walk(const alloc::FrameState& state) {
  for (const alloc::UnwindBy by : {alloc::UnwindBy::kRules, alloc::UnwindBy::kFramePointers}) {
    alloc::Trail trail;
    alloc::Trail again;
    const Frames found = walk(state, by, trail);
    require(found == walk(state, by, again));
    if (by == alloc::UnwindBy::kFramePointers) continue;
    for (std::size_t i = 0; i < found.count; ++i) {
      for (const std::uintptr_t address : {found.frames[i] - 1, found.frames[i]}) {
        require(alloc::unwind_rule_is_right_for_test(address));
      }
    }
  }
}

// Of one run: what is kept of an earlier one must not decide about this one.
class Cached {
 public:
  explicit Cached(alloc::UnwindBy by) : by_(by) {
    require(tables_.stacks.init(kTableBytes) && tables_.trails.init(kTableBytes));
  }
  ~Cached() {
    tables_.stacks.destroy();
    tables_.trails.destroy();
  }
  Cached(const Cached&) = delete;
  Cached& operator=(const Cached&) = delete;

  void check(const alloc::Origin& origin) {
    alloc::Trail trail;
    const Frames found = walk(origin.caller(), by_, trail);
    std::array<std::uintptr_t, alloc::kMaxFrames + 1> whole{origin.entry_frame()};
    std::copy_n(found.frames.begin(), found.count, whole.begin() + 1);
    const alloc::StackId stack = tables_.stacks.intern({whole.data(), found.count + 1});
    const alloc::StackId cached = cache_.find(origin);
    require(cached == alloc::kNoStack || cached == stack);
    cache_.remember(tables_, origin, stack, trail);
  }

 private:
  static constexpr std::size_t kTableBytes = std::size_t{1} << 20;
  alloc::UnwindBy by_;
  alloc::StackTables tables_;
  alloc::StackCache cache_{};
};

std::uint64_t word_at(const std::uint8_t* data, std::size_t size, std::size_t number) {
  constexpr std::size_t kBytes = sizeof(std::uint64_t);
  std::uint64_t bits = 0;
  const std::size_t at = number * kBytes;
  if (at < size) std::memcpy(&bits, data + at, std::min(size - at, kBytes));
  return bits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Stack stack;
  std::memset(stack.words(), 0, kStackBytes);
  constexpr std::size_t kStart = 3;  // words before those of the stack
  constexpr std::size_t kMostChanges = 16;
  const std::size_t given = size / sizeof(std::uint64_t);
  const std::size_t count = given < kStart ? 0 : std::min(given - kStart, kWords);
  for (std::size_t i = 0; i < count; ++i) stack.words()[i] = word_of(word_at(data, size, kStart + i), stack);
  const std::size_t sp = kRedZoneWords + word_at(data, size, 1) % (kWords - kRedZoneWords);
  alloc::unwind_set_stack_end(stack.begin() + kStackBytes);
  check_walk({word_of(word_at(data, size, 0), stack), stack.begin() + sp * sizeof(std::uintptr_t),
              word_of(word_at(data, size, 2), stack)});

  Cached by_rules(alloc::UnwindBy::kRules);
  Cached by_frame_pointers(alloc::UnwindBy::kFramePointers);
  const std::uintptr_t* const frame = stack.words() + std::min(sp, kWords - 2);
  const auto check = [&] {
    for (const void* const entry : {reinterpret_cast<const void*>(&mmap), reinterpret_cast<const void*>(&munmap)}) {
      by_rules.check({entry, frame});
      by_frame_pointers.check({entry, frame});
    }
  };
  check();
  for (std::size_t i = 0; i < std::min(count, kMostChanges); ++i) {
    const std::uint64_t bits = word_at(data, size, kStart + count - 1 - i);
    stack.words()[sp + bits % (kWords - sp)] = word_of(bits >> 8, stack);
    check();
    check();
  }
  alloc::unwind_set_stack_end(0);
  return 0;
}
