// Bytes as a program beside a marker, step by step, against a verifier that looks at everything (mark_model.h). The
// first byte says in which way the marks are made.
#include "fuzz/mark_model.h"

using namespace arenascan;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices choices({data, size});
  fuzz::MarkModel model;
  if (choices.one_in(2)) model.copy_pages();
  if (choices.one_in(8)) model.share(2 + choices.below(scan::kMostLanes - 1));
  while (choices.any()) {
    if (choices.one_in(4)) {
      model.mark_stopped(choices);
    } else {
      model.mark_beside(choices);
    }
  }
  return 0;
}
