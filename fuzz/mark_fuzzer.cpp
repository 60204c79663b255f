// Bytes as a program beside a marker, step by step, against a verifier that looks at everything (mark_model.h). The
// first bytes say in which way the marks are made. Some marks and what happens beside them are left to chance, of which
// the input is the seed: a few bytes stand for much then.
#include <algorithm>
#include <array>
#include <random>

#include "fuzz/mark_model.h"

using namespace arenascan;

namespace {

constexpr int kMostLong = 12;  // of an input, so that none takes a second

void mark(fuzz::MarkModel& model, fuzz::Choices& choices) {
  if (choices.one_in(4)) {
    model.mark_stopped(choices);
  } else {
    model.mark_beside(choices);
  }
}

void mark_by_chance(fuzz::MarkModel& model, std::uint64_t seed) {
  std::array<std::uint8_t, 4096> bytes;
  std::minstd_rand random(static_cast<std::uint32_t>(seed));
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random() >> 16); });
  fuzz::Choices choices(bytes);
  mark(model, choices);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices choices({data, size});
  fuzz::MarkModel model;
  if (choices.one_in(2)) model.copy_pages();
  if (choices.one_in(8)) model.share(2 + choices.below(scan::kMostLanes - 1));
  int long_ones = 0;
  while (choices.any()) {
    const std::uint64_t what = choices.below(64);
    const bool is_long = what >= 48 && ++long_ones <= kMostLong;
    if (is_long && what >= 60) {
      model.let_epochs_pass();
    } else if (is_long) {
      mark_by_chance(model, choices.below(1 << 16));
    } else if (what < 4) {
      model.check_retainers(choices);
    } else {
      mark(model, choices);
    }
  }
  return 0;
}
