#include "scan/registers.h"

#include <cpuid.h>

#include <array>
#include <cstring>

#include "alloc/os.h"

namespace arenascan::scan {
namespace {

// Where the processor saves a set of registers, from the beginning of the vector state.
struct Component {
  std::uint32_t offset, bytes;
};
constexpr unsigned kComponents = 20;
constexpr std::size_t kSoftwareOffset = 464;  // magic 4, size of the whole area 4
constexpr std::uint32_t kMagic = 0x46505853;
constexpr std::size_t kLegacyBytes = 512;
std::array<Component, kComponents> component_layout() noexcept {
  std::array<Component, kComponents> layout{};
  for (unsigned i = 2; i < kComponents; ++i) {
    std::uint32_t unused = 0;
    __cpuid_count(0xD, i, layout[i].bytes, layout[i].offset, unused, unused);
  }
  return layout;
}

const std::array<Component, kComponents>& layout() noexcept {
  static const std::array<Component, kComponents> known = component_layout();
  return known;
}

}  // namespace

void learn_register_layout() noexcept { static_cast<void>(layout()); }

std::uintptr_t own_thread_pointer() noexcept {
  std::uintptr_t pointer = 0;
  asm("mov %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

StoppedThread calling_thread(std::uintptr_t stack_pointer) noexcept {
  return {alloc::os_thread_id(),
          stack_pointer,
          own_thread_pointer(),
          stack_pointer,
          stack_pointer + kSavedRegisterBytes,
          0};
}

// Facts: Intel's manual, volume 1, chapter 13 (layout of the XSAVE area; CPUID leaf 13 tells offsets and sizes); the
// kernel notes in the bytes reserved for software whether the area is an extended one (FP_XSTATE_MAGIC1).
VectorPieces vector_pieces(const StoppedThread& thread) noexcept {
  VectorPieces found;
  const std::uintptr_t area = thread.vector_state;
  if (area == 0) return found;
  const auto add = [&](std::uint32_t offset, std::uint32_t bytes) {
    if (found.count < VectorPieces::kMost) found.pieces[found.count++] = {area + offset, area + offset + bytes};
  };
  const auto word_at = [area](std::size_t offset) {
    std::uint64_t word = 0;
    std::memcpy(&word, reinterpret_cast<const void*>(area + offset), sizeof(word));
    return word;
  };
  constexpr std::size_t kInUseOffset = kLegacyBytes;  // which components hold anything
  const std::uint64_t software = word_at(kSoftwareOffset);
  const bool is_extended = static_cast<std::uint32_t>(software) == kMagic;
  const std::uint64_t in_use = is_extended ? word_at(kInUseOffset) : 3;
  if ((in_use & 1) != 0) add(32, 128);   // x87 and MMX
  if ((in_use & 6) != 0) add(160, 256);  // XMM; AVX saves its lower halves there
  for (unsigned component = 2; is_extended && component < kComponents; ++component) {
    constexpr unsigned kProtectionKeys = 9;
    if ((in_use >> component & 1) == 0 || component == kProtectionKeys) continue;
    const auto [offset, bytes] = layout()[component];
    if (std::uint64_t{offset} + bytes <= software >> 32) add(offset, bytes);
  }
  return found;
}

void as_in_signal_frame(void* vector_state, std::size_t bytes) noexcept {
  const std::uint64_t software = bytes > kLegacyBytes ? std::uint64_t{bytes} << 32 | kMagic : 0;
  std::memcpy(static_cast<char*>(vector_state) + kSoftwareOffset, &software, sizeof(software));
}

}  // namespace arenascan::scan

// call_with_registers_saved(body, argument, stack_end): pushes the six registers that a function has to keep for its
// caller; rbp remembers the caller's stack meanwhile.
asm(R"(
  .text
  .globl arenascan_call_with_registers_saved
  .hidden arenascan_call_with_registers_saved
  .type arenascan_call_with_registers_saved, @function
arenascan_call_with_registers_saved:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  mov %rsp, %rax
  push %rbx
  .cfi_def_cfa_offset 24
  push %r12
  .cfi_def_cfa_offset 32
  push %r13
  .cfi_def_cfa_offset 40
  push %r14
  .cfi_def_cfa_offset 48
  push %r15
  .cfi_def_cfa_offset 56
  mov %rax, %rbp
  .cfi_def_cfa %rbp, 16
  mov %rdi, %rax
  mov %rsp, %rdi
  mov %rdx, %rsp
  call *%rax
  lea -40(%rbp), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size arenascan_call_with_registers_saved, .-arenascan_call_with_registers_saved
)");
