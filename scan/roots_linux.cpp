#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cerrno>

#include "alloc/os.h"
#include "scan/roots.h"

namespace arenascan::scan {
namespace {

struct Segments {
  alloc::MetaVector<AddressRange>& writable;
  alloc::MetaVector<AddressRange>& constants;
  alloc::MetaVector<AddressRange>& sealed;  // parts of writable ones
};

bool add_segments(const dl_phdr_info& module, const Segments& to) noexcept {
  constexpr std::uintptr_t kMask = alloc::kOsPageBytes - 1;
  for (const ElfW(Phdr)* header = module.dlpi_phdr; header != module.dlpi_phdr + module.dlpi_phnum; ++header) {
    const std::uintptr_t begin = module.dlpi_addr + header->p_vaddr;
    const std::uintptr_t end = begin + header->p_memsz;
    bool fits = true;
    if (header->p_type == PT_LOAD) {
      auto& segments = (header->p_flags & PF_W) != 0 ? to.writable : to.constants;
      fits = segments.push_back({begin & ~kMask, (end + kMask) & ~kMask});
    } else if (header->p_type == PT_GNU_RELRO) {
      fits = to.sealed.push_back({begin & ~kMask, end & ~kMask});  // whole pages, as the loader seals them
    }
    if (!fits) return false;
  }
  return true;
}

void* any_address_in(const dl_phdr_info& module) noexcept {
  const auto* const end = module.dlpi_phdr + module.dlpi_phnum;
  const auto* const first = std::find_if(module.dlpi_phdr, end, [](const auto& h) { return h.p_type == PT_LOAD; });
  return first == end ? nullptr : reinterpret_cast<void*>(module.dlpi_addr + first->p_vaddr);
}

}  // namespace

// Takes no lock and waits for nobody (the C library's manual, "Dynamic Linker Introspection"): to be asked
// with the world stopped, in the midst of dlclose() as well, which forgets a module before it unmaps it.
bool RootCollector::look_up(void* address, Module& module) noexcept {
  dl_find_object found{};
  if (_dl_find_object(address, &found) != 0) return false;
  module = {found.dlfo_map_start, found.dlfo_map_end, found.dlfo_link_map};
  return true;
}

bool RootCollector::modules_stand() const noexcept {
  if (is_alone_) return true;
  Module now{};
  return !loaded_.empty() && std::all_of(loaded_.begin(), loaded_.end(), [&](const Module& module) {
    return look_up(module.begin, now) && now == module;
  });
}

Incomplete RootCollector::prepare(bool is_alone) noexcept {
  is_alone_ = is_alone;
  enum : int { kListed, kAsBefore, kNoRoom };
  const alloc::ErrnoKeeper keeper;
  learn_register_layout();
  struct Target {
    RootCollector* collector;
    bool is_first = true;
    bool are_known = true;
  } target{this};
  const int outcome = dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* argument) -> int {
        auto& [collector, is_first, are_known] = *static_cast<Target*>(argument);
        if (is_first) {
          const ModuleCount count{module->dlpi_adds, module->dlpi_subs};
          if (count == collector->modules_known_) return kAsBefore;
          collector->modules_known_ = count;
          collector->modules_.clear();
          collector->constants_.clear();
          collector->sealed_.clear();
          collector->loaded_.clear();
          collector->whole_.clear();
          is_first = false;
        }
        Module loaded{};
        are_known = are_known && look_up(any_address_in(*module), loaded);
        const bool fits = collector->loaded_.push_back(loaded) &&
                          add_segments(*module, {collector->modules_, collector->constants_, collector->sealed_});
        return fits ? kListed : kNoRoom;
      },
      &target);
  if (outcome == kAsBefore) return Incomplete::kNo;
  sort_and_merge(modules_);
  sort_and_merge(sealed_);
  if (!target.are_known) loaded_.clear();
  if (outcome == kListed) return Incomplete::kNo;
  modules_known_ = {};
  return Incomplete::kNoMemory;
}

// Only what is read of modules, and what is never a root but for the heap, where the program may have closed pages.
void RootCollector::leave_unasked(std::span<const AddressRange> never, AddressRange heap_in_use) noexcept {
  const auto leave = [this](AddressRange range) { fits_ = unasked_.push_back(range) && fits_; };
  unasked_.clear();
  if (modules_stand_) {
    for (const AddressRange& range : constants_) leave(range);
  }
  for (const AddressRange& range : never) {
    leave({range.begin, std::min(range.end, heap_in_use.begin)});
    leave({std::max(range.begin, heap_in_use.end), range.end});
  }
  sort_and_merge(unasked_);
}

bool RootCollector::read_mappings() noexcept {
  if (!mappings_.read({unasked_.begin(), unasked_.size()}, {sealed_.begin(), modules_stand_ ? sealed_.size() : 0})) {
    return false;
  }
  learn_own_of_kernel();
  return true;
}

// They stay where they are, beside the module that reads them ([vdso]).
void RootCollector::learn_own_of_kernel() noexcept {
  if (!modules_stand_) return;
  for (const Mapping& mapping : mappings_) {
    if (!mapping.special || mapping.file) continue;
    const bool is_known = std::any_of(constants_.begin(), constants_.end(), [&](AddressRange known) {
      return known.begin <= mapping.range.begin && mapping.range.begin < known.end;
    });
    if (!is_known) fits_ = constants_.push_back(mapping.range) && fits_;
  }
}

}  // namespace arenascan::scan
