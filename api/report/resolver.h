// What lies at a code address: module, function, file and line, as far as anybody knows.
//
// Threads: one at a time. Called by: frames, suppressions.
#pragma once

#include <cstdint>

#include "api/report/modules.h"
#include "api/report/symbolizer.h"

namespace arenascan::api::report {

struct ResolvedFrame {
  std::uintptr_t address;  // of the call; an inlined function has that of the one it is inlined in
  Modules::Place module;
  SourceFrame source;
};

class Resolver {
 public:
  // Takes stock of what is loaded.
  Resolver() noexcept { modules_.refresh(); }

  [[nodiscard]] Modules::Place module_of(std::uintptr_t address) const noexcept { return modules_.find(address); }

  // Calls visit(frame) for the functions at `address`, inlined ones first; once at least. The texts are good until it
  // returns.
  template <typename Visit>
  void resolve(std::uintptr_t address, Visit&& visit) noexcept {
    Call<Visit> call{visit, {address, modules_.find(address), {}}};
    const bool is_known = !call.frame.module.path.empty() && symbolizer_.symbolize(
                                                                 call.frame.module.path, call.frame.module.offset,
                                                                 [](const SourceFrame& source, void* argument) {
                                                                   auto& told = *static_cast<Call<Visit>*>(argument);
                                                                   told.frame.source = source;
                                                                   told.visit(told.frame);
                                                                 },
                                                                 &call);
    if (!is_known) visit(call.frame);
  }

  // Whether functions and files could not be asked for.
  [[nodiscard]] bool is_without_symbols() const noexcept { return symbolizer_.is_unavailable(); }

 private:
  template <typename Visit>
  struct Call {
    Visit& visit;
    ResolvedFrame frame;
  };

  Modules modules_;
  Symbolizer symbolizer_;
};

}  // namespace arenascan::api::report
