#include <link.h>

#include <cerrno>

#include "alloc/os.h"
#include "scan/roots.h"

namespace arenascan::scan {
namespace {

bool add_segments(const dl_phdr_info& module, alloc::MetaVector<AddressRange>& writable,
                  alloc::MetaVector<AddressRange>& constants) noexcept {
  constexpr std::uintptr_t kMask = alloc::kOsPageBytes - 1;
  for (const ElfW(Phdr)* header = module.dlpi_phdr; header != module.dlpi_phdr + module.dlpi_phnum; ++header) {
    if (header->p_type != PT_LOAD) continue;
    const std::uintptr_t begin = module.dlpi_addr + header->p_vaddr;
    auto& segments = (header->p_flags & PF_W) != 0 ? writable : constants;
    if (!segments.push_back({begin & ~kMask, (begin + header->p_memsz + kMask) & ~kMask})) return false;
  }
  return true;
}

}  // namespace

Incomplete RootCollector::prepare(bool is_alone) noexcept {
  knows_constants_ = is_alone;
  enum : int { kListed, kAsBefore, kNoRoom };
  const alloc::ErrnoKeeper keeper;
  learn_register_layout();
  struct Target {
    RootCollector* collector;
    bool is_first = true;
  } target{this};
  const int outcome = dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* argument) -> int {
        auto& [collector, is_first] = *static_cast<Target*>(argument);
        if (is_first) {
          const ModuleCount count{module->dlpi_adds, module->dlpi_subs};
          if (count == collector->modules_known_) return kAsBefore;
          collector->modules_known_ = count;
          collector->modules_.clear();
          collector->constants_.clear();
          is_first = false;
        }
        return add_segments(*module, collector->modules_, collector->constants_) ? kListed : kNoRoom;
      },
      &target);
  if (outcome == kAsBefore) return Incomplete::kNo;
  sort_and_merge(modules_);
  if (outcome == kListed) return Incomplete::kNo;
  modules_known_ = {};
  return Incomplete::kNoMemory;
}

}  // namespace arenascan::scan
