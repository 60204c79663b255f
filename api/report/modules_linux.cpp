#include "api/report/modules.h"

#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "alloc/os.h"

namespace arenascan::api::report {
namespace {

char* copy_path(std::string_view path) noexcept {
  auto* const copy = static_cast<char*>(alloc::meta_allocate(path.size() + 1));
  if (copy == nullptr) return nullptr;
  std::memcpy(copy, path.data(), path.size());
  copy[path.size()] = 0;
  return copy;
}

std::string_view main_program(char* buffer, std::size_t capacity) noexcept {
  const ssize_t length = readlink("/proc/thread-self/exe", buffer, capacity);
  return length <= 0 ? std::string_view() : std::string_view(buffer, static_cast<std::size_t>(length));
}

}  // namespace

alloc::FixedText program_name() noexcept {
  const alloc::ErrnoKeeper keeper;
  char buffer[4096];
  const std::string_view path = main_program(buffer, sizeof(buffer));
  alloc::FixedText name;
  name.text(path.substr(path.rfind('/') + 1));
  return name;
}

Modules::~Modules() { clear(); }

void Modules::clear() noexcept {
  for (const Module& module : modules_) alloc::meta_free(module.path);
  modules_.clear();
}

void Modules::refresh() noexcept {
  const int saved_errno = errno;
  clear();
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        Module module{UINTPTR_MAX, 0, info->dlpi_addr, nullptr};
        for (const ElfW(Phdr)* header = info->dlpi_phdr; header != info->dlpi_phdr + info->dlpi_phnum; ++header) {
          if (header->p_type != PT_LOAD) continue;
          module.begin = std::min<std::uintptr_t>(module.begin, info->dlpi_addr + header->p_vaddr);
          module.end = std::max<std::uintptr_t>(module.end, info->dlpi_addr + header->p_vaddr + header->p_memsz);
        }
        char buffer[4096];
        const std::string_view name(info->dlpi_name == nullptr ? "" : info->dlpi_name);
        module.path = copy_path(name.empty() ? main_program(buffer, sizeof(buffer)) : name);
        auto& modules = static_cast<Modules*>(argument)->modules_;
        if (module.path == nullptr || !modules.push_back(module)) alloc::meta_free(module.path);
        return 0;
      },
      this);
  errno = saved_errno;
}

Modules::Place Modules::find(std::uintptr_t address) const noexcept {
  for (const Module& module : modules_) {
    if (address >= module.begin && address < module.end) return {module.path, address - module.bias};
  }
  return {};
}

}  // namespace arenascan::api::report
