// Traces made by chance, played on a private heap and held against the model of the fuzz targets (fuzz/model.h).
// ARENA_MODEL_TRACES sets how many.
#include <doctest/doctest.h>

#include "fuzz/chance.h"
#include "fuzz/model.h"
#include "tests/unit/random.h"

using namespace arenascan;

TEST_CASE("allocations, pointers and scans by chance: the heap and the scanner agree with the model") {
  constexpr int kRecords = 400;
  const std::uint64_t traces = test::length_from("ARENA_MODEL_TRACES", 200);
  for (std::uint64_t trace = 0; trace < traces; ++trace) {
    fuzz::Model model(trace);
    fuzz::Chance chance(static_cast<std::uint32_t>(trace));
    for (int i = 0; i < kRecords; ++i) model.play(chance.next());
    model.finish();
  }
}
