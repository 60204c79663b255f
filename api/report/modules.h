// The modules that are loaded at the moment of a report: which file a code address belongs to.
//
// Threads: one at a time. Called by: resolver.
#pragma once

#include <cstdint>
#include <string_view>

#include "alloc/check.h"
#include "alloc/meta_vector.h"

namespace arenascan::api::report {

// The name of the program's file; empty when the system does not tell.
alloc::FixedText program_name() noexcept;

class Modules {
 public:
  Modules() = default;
  ~Modules();
  Modules(const Modules&) = delete;
  Modules& operator=(const Modules&) = delete;

  // Takes stock of what is loaded. May take the loader's lock.
  void refresh() noexcept;

  struct Place {
    std::string_view path;      // empty: no module holds the address
    std::uintptr_t offset = 0;  // from where the module was loaded: the address in its file's own terms
  };
  [[nodiscard]] Place find(std::uintptr_t address) const noexcept;

 private:
  struct Module {
    std::uintptr_t begin, end, bias;
    char* path;
  };
  void clear() noexcept;

  alloc::MetaVector<Module> modules_;
};

}  // namespace arenascan::api::report
