// The marker against a verifier (fuzz/mark_model.h), with choices at random: heaps that stand still, programs beside
// the mark, copies of the pages that are reread, and up to eight lanes that share what there is. ARENA_MODEL_GRAPHS
// sets the number of heaps.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "fuzz/mark_model.h"
#include "tests/unit/random.h"

using namespace arenascan;
using fuzz::Choices;
using fuzz::MarkModel;
using test::Random;

namespace {

// A model for many marks, emptied now and then by beginning a new one.
template <typename Prepare>
void run(std::uint64_t one_in, void (MarkModel::*mark)(Choices&), Prepare&& prepare) {
  const std::uint64_t heaps = test::length_from("ARENA_MODEL_GRAPHS", 3'000) / one_in;
  constexpr std::uint64_t kMarksEach = 40;
  constexpr std::size_t kChoiceBytes = 4096;  // more than a mark takes, mostly
  std::vector<std::uint8_t> bytes(kChoiceBytes);
  for (std::uint64_t done = 0, seed = 1; done < heaps; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    MarkModel model;
    for (std::uint64_t i = 0; i < kMarksEach && done < heaps; ++i, ++done) {
      CAPTURE(i);
      prepare(model, random);
      std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random.next() >> 24); });
      Choices choices(bytes);
      (model.*mark)(choices);
    }
  }
  MESSAGE("heaps: ", heaps);
}

constexpr std::uint64_t kForThreads = 4;  // which take their time

void leave(MarkModel&, Random&) {}
void copy_pages(MarkModel& model, Random&) { model.copy_pages(); }
void let_epochs_pass(MarkModel& model, Random& random) {
  if (random.below(4) == 0) model.let_epochs_pass();
}
void share(MarkModel& model, Random& random) { model.share(2 + random.below(scan::kMostLanes - 1)); }

}  // namespace

TEST_CASE("a mark of a heap that stands still agrees with the verifier") { run(1, &MarkModel::mark_stopped, leave); }

TEST_CASE("a mark beside a program that moves pointers agrees with the verifier") {
  run(1, &MarkModel::mark_beside, leave);
}

TEST_CASE("a mark beside a program, with copies of what is reread, agrees with the verifier") {
  run(1, &MarkModel::mark_beside, copy_pages);
}

TEST_CASE("a mark after others of which nobody remembers the colours agrees with the verifier") {
  run(kForThreads, &MarkModel::mark_stopped, let_epochs_pass);
}

TEST_CASE("a mark that lanes share agrees with the verifier") { run(kForThreads, &MarkModel::mark_stopped, share); }

TEST_CASE("a mark that lanes share beside a program agrees with the verifier") {
  run(kForThreads, &MarkModel::mark_beside, share);
}
