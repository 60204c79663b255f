// arena_scrub_stack: clearing the dead part of the calling thread's stack, all of it: so what does the clearing has no
// frame.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "alloc/os.h"
#include "api/process.h"
#include "scan/registers.h"

using namespace arenascan;

extern "C" void* __libc_stack_end;  // glibc: where the main thread's stack began

namespace {

constexpr rlim_t kUsualBytes = rlim_t{8} << 20;  // of the main thread's stack, where the system does not tell

// Where the calling thread's own stack begins, if `here` lies on it; else 0: on a fiber, or a signal's stack, nobody
// knows how far it goes.
std::uintptr_t begin_of_stack_at(std::uintptr_t here) noexcept {
  const std::uintptr_t begin = api::process().threads.begin_of_stack(scan::own_thread_pointer(), here);
  if (begin != 0) return begin;
  if (alloc::os_thread_id() != alloc::os_process_id()) return 0;
  const auto end = reinterpret_cast<std::uintptr_t>(__libc_stack_end);
  rlimit limit{};
  if (getrlimit(RLIMIT_STACK, &limit) != 0) limit.rlim_cur = kUsualBytes;
  if (here >= end) return 0;
  const std::uintptr_t most = limit.rlim_cur < end ? limit.rlim_cur : end - alloc::kOsPageBytes;
  return end - here < most ? end - most : 0;
}

}  // namespace

// For the code below: the lowest page of the stack that was ever touched; 0: it is not known.
extern "C" [[gnu::used, gnu::visibility("hidden")]] std::uintptr_t arenascan_lowest_of_stack() noexcept {
  const alloc::ErrnoKeeper keeper;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const std::uintptr_t begin = begin_of_stack_at(here);
  if (begin == 0) return 0;
  std::uintptr_t lowest = here & ~(alloc::kOsPageBytes - 1);
  for (std::uintptr_t page = lowest; page >= begin; page -= alloc::kOsPageBytes) {
    unsigned char is_there = 0;
    if (mincore(reinterpret_cast<void*>(page), alloc::kOsPageBytes, &is_there) != 0) break;  // nothing is mapped
    if ((is_there & 1) != 0) lowest = page;
  }
  return lowest;
}

// void arena_scrub_stack(void)
asm(R"(
  .text
  .globl arena_scrub_stack
  .type arena_scrub_stack, @function
arena_scrub_stack:
  .cfi_startproc
  sub $8, %rsp
  .cfi_adjust_cfa_offset 8
  call arenascan_lowest_of_stack
  add $8, %rsp
  .cfi_adjust_cfa_offset -8
  test %rax, %rax
  je 1f
  mov %rax, %rdi
  mov %rsp, %rcx
  sub %rax, %rcx
  shr $3, %rcx
  xor %eax, %eax
  rep stosq
1:
  ret
  .cfi_endproc
  .size arena_scrub_stack, .-arena_scrub_stack
)");
