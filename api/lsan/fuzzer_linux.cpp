#include "api/lsan/fuzzer.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "alloc/os.h"
#include "api/hooks.h"

// What the program may have; const void* in the runtime of clang 14, void* in later ones.
namespace __sanitizer {                                                // NOLINT(*reserved-identifier)
[[gnu::weak]] void RunMallocHooks(const void* object, std::size_t n);  // NOLINT(*identifier-naming)
[[gnu::weak]] void RunMallocHooks(void* object, std::size_t n);        // NOLINT(*identifier-naming)
[[gnu::weak]] void RunFreeHooks(const void* object);                   // NOLINT(*identifier-naming)
[[gnu::weak]] void RunFreeHooks(void* object);                         // NOLINT(*identifier-naming)
}  // namespace __sanitizer

extern "C" {
[[gnu::weak]] int LLVMFuzzerRunDriver(int*, char***, int (*)(const std::uint8_t*, std::size_t));  // NOLINT(*naming)
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, std::size_t),        // NOLINT(*reserved*)
                                              void (*)(const volatile void*));
}

namespace arenascan::api::lsan {
namespace {

constexpr std::string_view kDriver = "LLVMFuzzerRunDriver";
constexpr std::string_view kMallocNames[] = {"_ZN11__sanitizer14RunMallocHooksEPKvm",
                                             "_ZN11__sanitizer14RunMallocHooksEPvm"};
constexpr std::string_view kFreeNames[] = {"_ZN11__sanitizer12RunFreeHooksEPKv", "_ZN11__sanitizer12RunFreeHooksEPv"};

struct Found {
  bool has_driver = false;
  Hooks hooks;
};

// The functions of the runtime take pointers of other types; all are passed alike.
template <typename To>
To as_function(std::uintptr_t address) noexcept {
  return reinterpret_cast<To>(address);
}

Found find_linked() noexcept {
  using TakesConst = void (*)(const void*, std::size_t);
  using Takes = void (*)(void*, std::size_t);
  using FreesConst = void (*)(const void*);
  using Frees = void (*)(void*);
  const auto address = [](auto* a, auto* b) {
    return a != nullptr ? reinterpret_cast<std::uintptr_t>(a) : reinterpret_cast<std::uintptr_t>(b);
  };
  Found found;
  found.has_driver = LLVMFuzzerRunDriver != nullptr;
  found.hooks.on_allocated = as_function<Hooks::OnAllocated>(
      address(static_cast<TakesConst>(__sanitizer::RunMallocHooks), static_cast<Takes>(__sanitizer::RunMallocHooks)));
  found.hooks.on_freed = as_function<Hooks::OnFreed>(
      address(static_cast<FreesConst>(__sanitizer::RunFreeHooks), static_cast<Frees>(__sanitizer::RunFreeHooks)));
  return found;
}

// The program's file, for reading.
class ProgramFile {
 public:
  ProgramFile() noexcept {
    const int fd = open("/proc/thread-self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat status {};
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
      const auto bytes = static_cast<std::size_t>(status.st_size);
      void* const memory = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
      if (memory != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(memory), bytes};
    }
    close(fd);
  }
  ~ProgramFile() {
    if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
  ProgramFile(const ProgramFile&) = delete;
  ProgramFile& operator=(const ProgramFile&) = delete;

  // `count` records at an offset; none where the file does not hold them.
  template <typename T>
  [[nodiscard]] std::span<const T> at(std::uint64_t offset, std::uint64_t count) const noexcept {
    const bool fits =
        offset <= bytes_.size() && count <= (bytes_.size() - offset) / sizeof(T) && offset % alignof(T) == 0;
    return fits ? std::span(reinterpret_cast<const T*>(bytes_.data() + offset), count) : std::span<const T>();
  }

 private:
  std::span<const std::byte> bytes_;
};

std::string_view name_at(std::span<const char> names, std::size_t offset) noexcept {
  if (offset >= names.size()) return {};
  const std::string_view rest(names.data() + offset, names.size() - offset);
  return rest.substr(0, rest.find('\0'));
}

std::uintptr_t program_bias() noexcept {
  std::uintptr_t bias = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        *static_cast<std::uintptr_t*>(argument) = info->dlpi_addr;
        return 1;  // the first is the program
      },
      &bias);
  return bias;
}

Found find_in_symbol_table() noexcept {
  const ProgramFile file;
  Found found;
  const auto header = file.at<ElfW(Ehdr)>(0, 1);
  if (header.empty() || header[0].e_ident[EI_CLASS] != ELFCLASS64) return found;
  const auto sections = file.at<ElfW(Shdr)>(header[0].e_shoff, header[0].e_shnum);
  const std::uintptr_t bias = program_bias();
  for (const ElfW(Shdr) & section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const auto names = file.at<char>(sections[section.sh_link].sh_offset, sections[section.sh_link].sh_size);
    for (const ElfW(Sym) & symbol : file.at<ElfW(Sym)>(section.sh_offset, section.sh_size / sizeof(ElfW(Sym)))) {
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
      const std::string_view name = name_at(names, symbol.st_name);
      const std::uintptr_t address = bias + symbol.st_value;
      if (name == kDriver) found.has_driver = true;
      if (name == kMallocNames[0] || name == kMallocNames[1]) {
        found.hooks.on_allocated = as_function<Hooks::OnAllocated>(address);
      }
      if (name == kFreeNames[0] || name == kFreeNames[1]) found.hooks.on_freed = as_function<Hooks::OnFreed>(address);
    }
  }
  return found;
}

bool is_whole(const Found& found) noexcept {
  return found.has_driver && found.hooks.on_allocated != nullptr && found.hooks.on_freed != nullptr;
}

// Whether libFuzzer, if it is there, finds our own installer.
bool is_installer_ours() noexcept {
  Dl_info ours{}, used{};
  return dladdr(reinterpret_cast<const void*>(&connect_libfuzzer), &ours) == 0 ||
         dladdr(reinterpret_cast<const void*>(&__sanitizer_install_malloc_and_free_hooks), &used) == 0 ||
         ours.dli_fbase == used.dli_fbase;
}

}  // namespace

void connect_libfuzzer() noexcept {
  const alloc::ErrnoKeeper keeper;
  Found found = find_linked();
  if (!is_whole(found) && !is_installer_ours()) found = find_in_symbol_table();
  if (is_whole(found)) install_hooks(found.hooks);
}

}  // namespace arenascan::api::lsan
