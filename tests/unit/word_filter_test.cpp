// The range filter: both ways against the plain definition, for all lengths, all patterns of hits and extreme windows.
#include <doctest/doctest.h>

#include <vector>

#include "scan/word_filter.h"
#include "tests/unit/random.h"

using namespace arenascan;
using Way = std::size_t (*)(const std::uintptr_t*, std::size_t, scan::Window, std::uintptr_t*) noexcept;

namespace {

void compare(const std::vector<std::uintptr_t>& words, scan::Window window, Way way) {
  std::vector<std::uintptr_t> expected;
  for (const std::uintptr_t word : words) {
    if (word >= window.begin && word - window.begin < window.bytes) expected.push_back(word);
  }
  constexpr std::uintptr_t kUntouched = 0xDEADBEEF;
  std::vector<std::uintptr_t> out(expected.size() + scan::kFilterSlack + 1, kUntouched);
  const std::size_t found = way(words.data(), words.size(), window, out.data());
  REQUIRE(found == expected.size());
  REQUIRE(std::vector<std::uintptr_t>(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(found)) == expected);
  REQUIRE(out.back() == kUntouched);
}

void compare_all(Way way) {
  constexpr std::uintptr_t kTop = std::uintptr_t{1} << 63;
  const scan::Window windows[] = {
      {0x7F0000000000, std::size_t{1} << 40}, {0x7F0000000000, 0}, {0, 1}, {1, ~std::uintptr_t{0}}, {kTop - 64, 128},
      {~std::uintptr_t{0} - 63, 64}};
  test::Random random(7);
  for (const scan::Window& window : windows) {
    const std::uintptr_t edges[] = {
        window.begin - 1, window.begin,      window.begin + window.bytes - 1, window.begin + window.bytes, 0, 1, kTop,
        kTop - 1,         ~std::uintptr_t{0}};
    for (std::size_t length = 0; length < 140; ++length) {
      for (const unsigned one_in : {1U, 2U, 7U, 1000U}) {
        std::vector<std::uintptr_t> words(length);
        for (std::uintptr_t& word : words) {
          word = random.one_in(one_in) ? edges[random.below(std::size(edges))] : random.below(1000) << 20;
        }
        compare(words, window, way);
      }
    }
  }
}

}  // namespace

TEST_CASE("the filter word by word") { compare_all(scan::filter_words_scalar); }

TEST_CASE("the filter by vectors") {
  if (!scan::has_avx2()) {
    MESSAGE("NOT TESTED: this processor has no AVX2");
    return;
  }
  compare_all(scan::filter_words_avx2);
}

TEST_CASE("the filter that the marker calls") { compare_all(scan::filter_words); }
