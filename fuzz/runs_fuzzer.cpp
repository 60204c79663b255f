// Bytes as what a heap asks of its run allocator, and as the time that goes by: against a map of all pages. A run is
// the first that fits, or there is none; what is in use keeps its contents; what is said to be zero is.
#include <algorithm>
#include <array>
#include <vector>

#include "alloc/os.h"
#include "alloc/run_alloc.h"
#include "fuzz/choices.h"
#include "fuzz/require.h"

using namespace arenascan;
using alloc::kPageBytes;
using fuzz::require;

namespace {

constexpr std::size_t kPages = 300;
constexpr std::size_t kMostRunPages = 20;
constexpr unsigned kMostAlignmentBits = 6;  // above a page's
constexpr std::uint64_t kDecayNs = 1'000;
constexpr std::uint64_t kFuture = std::uint64_t{1} << 62;  // later than any clock: time goes by as the input says

// At an address that no larger alignment divides, maybe.
class Memory {
 public:
  Memory() {
    require(memory_ != nullptr && bitmaps_ != nullptr && alloc::os_commit(bitmaps_, kBitmapBytes));
    runs.init(begin(), kPages, static_cast<std::uint64_t*>(bitmaps_), {kDecayNs, false});
    runs.decay_locked(kFuture);
  }
  ~Memory() {
    alloc::os_release(memory_, kPages * kPageBytes);
    alloc::os_release(bitmaps_, kBitmapBytes);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  [[nodiscard]] std::uintptr_t begin() const { return reinterpret_cast<std::uintptr_t>(memory_); }
  [[nodiscard]] std::uintptr_t base_of(std::size_t page) const { return begin() + page * kPageBytes; }
  // The first and the last word of a page.
  [[nodiscard]] std::array<std::uint64_t*, 2> words(std::size_t page) const {
    auto* const first = reinterpret_cast<std::uint64_t*>(base_of(page));
    return {first, first + kPageBytes / sizeof(*first) - 1};
  }

  alloc::RunAllocator runs;

 private:
  static constexpr std::size_t kBitmapBytes = alloc::kOsPageBytes;
  static_assert(alloc::RunAllocator::bitmap_bytes(kPages) <= kBitmapBytes);
  void* memory_ = alloc::os_reserve(kPages * kPageBytes, kPageBytes);
  void* bitmaps_ = alloc::os_reserve(kBitmapBytes, alloc::kOsPageBytes);
};

struct Run {
  std::size_t first;
  std::size_t count;
  std::uint64_t contents;
};

class Map {
 public:
  void take(std::size_t count, std::size_t alignment) {
    std::size_t expected = 0;
    while (expected < kPages && (memory_.base_of(expected) % alignment != 0 || !is_free(expected, count))) ++expected;
    const alloc::RunAllocator::Run run = memory_.runs.take_locked(count, alignment);
    require((run.base == 0) == (expected == kPages));
    if (run.base == 0) return;
    require(run.base == memory_.base_of(expected));
    occupy({expected, count, ++last_contents_}, run.zeroed);
  }

  void grow(std::size_t run, std::size_t more) {
    Run& old = runs_[run];
    const std::size_t end = old.first + old.count;
    const bool expected = is_free(end, more);
    require(memory_.runs.take_at_locked(memory_.base_of(end), more) == expected);
    if (expected) occupy({end, more, ++last_contents_}, false);
  }

  void give_back(std::size_t run) {
    const Run gone = runs_[run];
    check(gone);
    std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(gone.first), gone.count, false);
    memory_.runs.give_back_locked(memory_.base_of(gone.first), gone.count);
    runs_.erase(runs_.begin() + static_cast<std::ptrdiff_t>(run));
  }

  void wait(std::uint64_t ns) { memory_.runs.decay_locked(now_ += ns); }

  void check_all() const {
    for (const Run& run : runs_) check(run);
    require(memory_.runs.is_valid_locked());
    require(memory_.runs.taken_pages() == static_cast<std::size_t>(std::count(taken_.begin(), taken_.end(), true)));
  }

  [[nodiscard]] std::size_t runs() const { return runs_.size(); }

 private:
  [[nodiscard]] bool is_free(std::size_t first, std::size_t count) const {
    if (first + count > kPages) return false;
    const auto from = taken_.begin() + static_cast<std::ptrdiff_t>(first);
    return std::find(from, from + static_cast<std::ptrdiff_t>(count), true) ==
           from + static_cast<std::ptrdiff_t>(count);
  }

  void occupy(const Run& run, bool is_zero) {
    for (std::size_t page = run.first; page < run.first + run.count; ++page) {
      taken_[page] = true;
      for (std::uint64_t* const word : memory_.words(page)) {
        require(!is_zero || *word == 0);
        *word = run.contents;
      }
    }
    runs_.push_back(run);
  }

  void check(const Run& run) const {
    for (std::size_t page = run.first; page < run.first + run.count; ++page) {
      for (const std::uint64_t* const word : memory_.words(page)) require(*word == run.contents);
    }
  }

  Memory memory_;
  std::array<bool, kPages> taken_{};
  std::vector<Run> runs_;
  std::uint64_t last_contents_ = 0;
  std::uint64_t now_ = kFuture;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices choices({data, size});
  Map map;
  while (choices.any()) {
    const std::uint64_t what = choices.below(16);
    const std::size_t run = choices.below(std::max<std::size_t>(map.runs(), 1));
    const std::size_t pages = 1 + choices.below(kMostRunPages);
    if (what < 6 || map.runs() == 0) {
      map.take(pages, kPageBytes << (choices.one_in(2) ? 0 : choices.below(kMostAlignmentBits + 1)));
    } else if (what < 8) {
      map.grow(run, pages);
    } else if (what < 13) {
      map.give_back(run);
    } else {
      map.wait(choices.below(2 * kDecayNs));
    }
  }
  map.check_all();
  return 0;
}
