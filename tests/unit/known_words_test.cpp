#include "scan/known_words.h"

#include <doctest/doctest.h>

#include <map>

#include "alloc/os.h"
#include "tests/unit/random.h"

using namespace arenascan;

namespace {
constexpr std::size_t kWords = alloc::kOsPageBytes / sizeof(std::uintptr_t);
}

TEST_CASE("copies are found by their pages, begin with zeros, and keep what is written to them") {
  scan::KnownWords known;
  std::map<std::uintptr_t, std::uintptr_t*> model;
  test::Random random(1);
  for (int i = 0; i < 6'000; ++i) {
    const std::uintptr_t page = (1 + random.below(20'000)) * alloc::kOsPageBytes;
    const auto there = model.find(page);
    REQUIRE(known.find(page) == (there == model.end() ? nullptr : there->second));
    if (there != model.end()) continue;
    std::uintptr_t* const words = known.add(page, SIZE_MAX);
    REQUIRE(words != nullptr);
    for (std::size_t w = 0; w < kWords; ++w) REQUIRE(words[w] == 0);
    words[0] = page;
    words[kWords - 1] = page + 1;
    model[page] = words;
  }
  for (const auto& [page, words] : model) {
    CHECK(words[0] == page);
    CHECK(words[kWords - 1] == page + 1);
  }
  known.clear();
  for (const auto& [page, words] : model) REQUIRE(known.find(page) == nullptr);
  CHECK(known.add(alloc::kOsPageBytes, 1) != nullptr);
  CHECK(known.add(2 * alloc::kOsPageBytes, 1) == nullptr);
  CHECK(known.find(2 * alloc::kOsPageBytes) == nullptr);
}
