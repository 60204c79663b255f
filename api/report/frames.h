// Call stacks as text, in LeakSanitizer's form.
//
//       #0 0x55db9e0cef42 in malloc (MODULE+0x30f42)
//       #1 0x55db9e0d16ef in leak() FILE:LINE:COL
//
// Addresses are those of the call (return address less one); an inlined function has a line of its own with the address
// of the one it is inlined in.
//
// Threads: one at a time. Called by: text, object.
#pragma once

#include <cstdint>
#include <string_view>

#include "alloc/stack_table.h"
#include "api/report/modules.h"
#include "api/report/symbolizer.h"
#include "api/report/writer.h"

namespace arenascan::api::report {

class Frames {
 public:
  // Takes stock of what is loaded.
  Frames(Writer& out, const alloc::StackTable& stacks) noexcept : out_(out), stacks_(stacks) { modules_.refresh(); }

  // Its frames, and an empty line.
  void write_stack(alloc::StackId stack) noexcept;

  // "NAME (MODULE+0xOFFSET)" for the address of a variable, as far as anything is known of it.
  void write_variable(std::uintptr_t address) noexcept;

 private:
  void write_frames(std::uintptr_t address) noexcept;
  void write_frame(const SourceFrame& frame) noexcept;
  void write_place() noexcept;

  Writer& out_;
  const alloc::StackTable& stacks_;
  Modules modules_;
  Symbolizer symbolizer_;
  std::uint64_t frame_number_ = 0;
  std::uintptr_t address_ = 0;
  Modules::Place place_;
};

}  // namespace arenascan::api::report
