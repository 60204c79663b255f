// Groups of leaks as a report shows them: those whose call stacks agree in their first frames are one.
//
// Threads: one at a time. Called by: text.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/meta_vector.h"
#include "alloc/stack_table.h"
#include "scan/verdict.h"

namespace arenascan::api::report {

struct CoarseGroup {
  alloc::StackId stack = alloc::kNoStack;  // one of its stacks
  std::size_t frames = SIZE_MAX;           // in so many of which all agree
  bool direct = true;
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;

  // Whether a leaked object belongs to it.
  [[nodiscard]] bool holds(const scan::LeakedObject& object, const alloc::StackTable& stacks) const noexcept;
};

// `leaks` by the first `frames` of their stacks; 0: by all, which leaves them as they are. In the order of reports.
// Empty when there is no memory.
alloc::MetaVector<CoarseGroup> coarse_groups(const alloc::MetaVector<scan::Group>& leaks,
                                             const alloc::StackTable& stacks, std::size_t frames) noexcept;

}  // namespace arenascan::api::report
