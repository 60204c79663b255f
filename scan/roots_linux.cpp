#include <link.h>

#include <cerrno>

#include "alloc/os.h"
#include "scan/roots.h"

namespace arenascan::scan {

Incomplete RootCollector::prepare() noexcept {
  const alloc::ErrnoKeeper keeper;
  modules_.clear();
  const int full = dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& modules = *static_cast<alloc::MetaVector<AddressRange>*>(argument);
        for (const ElfW(Phdr)* header = info->dlpi_phdr; header != info->dlpi_phdr + info->dlpi_phnum; ++header) {
          if (header->p_type != PT_LOAD || (header->p_flags & PF_W) == 0) continue;
          const std::uintptr_t begin = info->dlpi_addr + header->p_vaddr;
          const std::uintptr_t end = begin + header->p_memsz + alloc::kOsPageBytes - 1;
          if (!modules.push_back({begin & ~(alloc::kOsPageBytes - 1), end & ~(alloc::kOsPageBytes - 1)})) return 1;
        }
        return 0;
      },
      &modules_);
  return full == 0 ? Incomplete::kNo : Incomplete::kNoMemory;
}

}  // namespace arenascan::scan
