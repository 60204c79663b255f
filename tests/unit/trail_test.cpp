// Trails: which words of a walk become one step, and walks that are too long or too odd for one.
#include <doctest/doctest.h>

#include "alloc/trail.h"

using namespace arenascan::alloc;

namespace {

constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);

}  // namespace

TEST_CASE("a frame pointer shares a step with the return address behind it, and has one of its own without") {
  Trail trail;
  trail.add_frame_pointer(2 * kWord, 100);
  trail.add_frame_pointer(5 * kWord, 200);
  trail.add_return(6 * kWord);
  trail.add_return(9 * kWord);
  REQUIRE(trail.usable);
  REQUIRE(trail.count == 3);
  CHECK((trail.steps[0].frame_pointer_at == 2 && trail.steps[0].frame_pointer == 100));
  CHECK(trail.steps[0].return_at == TrailStep::kNone);
  CHECK((trail.steps[1].frame_pointer_at == 5 && trail.steps[1].frame_pointer == 200));
  CHECK(trail.steps[1].return_at == 6);
  CHECK(trail.steps[2].frame_pointer_at == TrailStep::kNone);
  CHECK(trail.steps[2].return_at == 9);
}

TEST_CASE("a walk of more steps than a trail has leaves none") {
  Trail trail;
  for (std::size_t i = 0; i < Trail::kMaxSteps; ++i) trail.add_return(i * kWord);
  CHECK((trail.usable && trail.count == Trail::kMaxSteps));
  trail.add_return(Trail::kMaxSteps * kWord);
  CHECK((!trail.usable && trail.count == Trail::kMaxSteps));
}

TEST_CASE("what does not fit into a step leaves no trail: places too far away or between words, values too large") {
  Trail far;
  far.add_return((TrailStep::kNone - 1) * kWord);
  CHECK(far.usable);
  far.add_return(TrailStep::kNone * kWord);
  CHECK(!far.usable);
  Trail between;
  between.add_return(kWord + 1);
  CHECK(!between.usable);
  Trail large;
  large.add_frame_pointer(kWord, std::uintptr_t{1} << 31);
  CHECK(!large.usable);
}
