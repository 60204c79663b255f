#include "api/report/frames.h"

namespace arenascan::api::report {

void Frames::write_stack(alloc::StackId stack) noexcept {
  frame_number_ = 0;
  for (const std::uintptr_t return_address : stacks_.frames(stack)) write_frames(return_address - 1);
  if (frame_number_ == 0) out_.text("    (no stack)\n");
  out_.text("\n");
}

void Frames::write_variable(std::uintptr_t address) noexcept {
  place_ = modules_.find(address);
  if (place_.path.empty()) return;
  symbolizer_.symbolize(
      place_.path, place_.offset,
      [](const SourceFrame& frame, void* self) {
        if (!frame.function.empty()) static_cast<Frames*>(self)->out_.text(frame.function).text(" ");
      },
      this);
  write_place();
}

void Frames::write_frames(std::uintptr_t address) noexcept {
  place_ = modules_.find(address);
  address_ = address;
  const bool known =
      !place_.path.empty() &&
      symbolizer_.symbolize(
          place_.path, place_.offset,
          [](const SourceFrame& frame, void* self) { static_cast<Frames*>(self)->write_frame(frame); }, this);
  if (!known) write_frame({});
}

void Frames::write_frame(const SourceFrame& frame) noexcept {
  out_.text("    #").decimal(frame_number_++).text(" ").hex(address_);
  if (!frame.function.empty()) out_.text(" in ").text(frame.function);
  out_.text(" ");
  if (!frame.place.empty()) {
    out_.text(frame.place);
  } else if (!place_.path.empty()) {
    write_place();
  } else {
    out_.text("(<unknown module>)");
  }
  out_.text("\n");
}

void Frames::write_place() noexcept { out_.text("(").text(place_.path).text("+").hex(place_.offset).text(")"); }

}  // namespace arenascan::api::report
