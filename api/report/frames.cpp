#include "api/report/frames.h"

#include <string_view>

#include "alloc/options.h"

namespace arenascan::api::report {
namespace {

std::string_view shown_path(std::string_view path) noexcept {
  const std::string_view prefix = alloc::options().strip_path_prefix.view();
  if (prefix.empty()) return path;
  const std::size_t at = path.find(prefix);
  return at == std::string_view::npos ? path : path.substr(at + prefix.size());
}

}  // namespace

void Frames::write_stack(alloc::StackId stack, std::size_t most) noexcept {
  frame_number_ = 0;
  std::size_t taken = 0;
  for (const std::uintptr_t return_address : stacks_.frames(stack)) {
    if (taken++ == most) break;
    resolver_.resolve(return_address - 1, [this](const ResolvedFrame& frame) { write_frame(frame); });
  }
  if (frame_number_ == 0) out_.text("    (no stack)\n");
  out_.text("\n");
}

void Frames::write_variable(std::uintptr_t address) noexcept {
  if (resolver_.module_of(address).path.empty()) return;
  Modules::Place place;
  resolver_.resolve(address, [&](const ResolvedFrame& frame) {
    if (!frame.source.function.empty()) out_.text(frame.source.function).text(" ");
    place = frame.module;
  });
  write_place(place);
}

void Frames::write_frame(const ResolvedFrame& frame) noexcept {
  out_.text("    #").decimal(frame_number_++).text(" ").hex(frame.address);
  if (!frame.source.function.empty()) out_.text(" in ").text(frame.source.function);
  out_.text(" ");
  if (!frame.source.place.empty()) {
    out_.text(shown_path(frame.source.place));
  } else if (!frame.module.path.empty()) {
    write_place(frame.module);
  } else {
    out_.text("(<unknown module>)");
  }
  out_.text("\n");
}

void Frames::write_place(const Modules::Place& place) noexcept {
  out_.text("(").text(shown_path(place.path)).text("+").hex(place.offset).text(")");
}

}  // namespace arenascan::api::report
