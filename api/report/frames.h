// Call stacks as text, in LeakSanitizer's form.
//
//       #0 0x55db9e0cef42 in malloc (MODULE+0x30f42)
//       #1 0x55db9e0d16ef in leak() FILE:LINE:COL
//
// Addresses are those of the call (return address less one); an inlined function has a line of its own with the address
// of the one it is inlined in. Paths are printed without what option strip_path_prefix says.
//
// Threads: one at a time. Called by: text, object.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/stack_table.h"
#include "api/report/resolver.h"
#include "api/report/writer.h"

namespace arenascan::api::report {

class Frames {
 public:
  // Takes stock of what is loaded.
  Frames(Writer& out, const alloc::StackTable& stacks) noexcept : out_(out), stacks_(stacks) {}

  // Its frames, the first `most` of the stack's, and an empty line.
  void write_stack(alloc::StackId stack, std::size_t most = SIZE_MAX) noexcept;

  // "NAME (MODULE+0xOFFSET)" for the address of a variable, as far as anything is known of it.
  void write_variable(std::uintptr_t address) noexcept;

 private:
  void write_frame(const ResolvedFrame& frame) noexcept;
  void write_place(const Modules::Place& place) noexcept;

  Writer& out_;
  const alloc::StackTable& stacks_;
  Resolver resolver_;
  std::uint64_t frame_number_ = 0;
};

}  // namespace arenascan::api::report
