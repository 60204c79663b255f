// Bytes as the contents of a stack, walked as if a thread stood there: nothing outside of the stack is read
// (inaccessible memory lies around it), the walk ends, and a second one, for which all rules are known, finds the same.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "alloc/unwind.h"
#include "fuzz/require.h"

using namespace arenascan;
using fuzz::require;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackBytes = 4 * kPage;
constexpr std::size_t kWords = kStackBytes / sizeof(std::uintptr_t);

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Stack stack;
  std::memset(stack.words(), 0, kStackBytes);
  std::array<std::uint64_t, 3> start{};
  std::memcpy(start.data(), data, std::min(size, sizeof(start)));
  std::size_t count = 0;
  for (std::size_t at = sizeof(start); at + sizeof(std::uint64_t) <= size && count < kWords;
       at += sizeof(std::uint64_t)) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, data + at, sizeof(bits));
    stack.words()[count++] = word_of(bits, stack);
  }
  constexpr std::size_t kRedZoneWords = 16;
  const std::size_t sp = kRedZoneWords + start[1] % (kWords - kRedZoneWords);
  const alloc::FrameState state{word_of(start[0], stack), stack.begin() + sp * sizeof(std::uintptr_t),
                                word_of(start[2], stack)};
  alloc::unwind_set_stack_end(stack.begin() + kStackBytes);
  for (const alloc::UnwindBy by : {alloc::UnwindBy::kRules, alloc::UnwindBy::kFramePointers}) {
    std::array<std::array<std::uintptr_t, alloc::kMaxFrames>, 2> frames{};
    std::array<std::size_t, 2> found{};
    for (std::size_t i = 0; i < frames.size(); ++i) {
      alloc::Trail trail;
      found[i] = alloc::unwind(state, frames[i].data(), frames[i].size(), trail, by);
      require(found[i] <= frames[i].size() && trail.count <= alloc::Trail::kMaxSteps);
    }
    require(found[0] == found[1] && frames[0] == frames[1]);
  }
  alloc::unwind_set_stack_end(0);
  return 0;
}
