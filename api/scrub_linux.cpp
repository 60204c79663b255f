#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "alloc/os.h"
#include "api/process.h"
#include "api/scrub.h"
#include "scan/bare_thread.h"
#include "scan/registers.h"

extern "C" void* __libc_stack_end;  // glibc: where the main thread's stack began

namespace arenascan::api {
namespace {

// Where the calling thread's own stack begins, if `here` lies on it; else 0: on a fiber, or a signal's stack, nobody
// knows how far it goes.
std::uintptr_t begin_of_stack_at(std::uintptr_t here) noexcept {
  const std::uintptr_t begin = process().threads.begin_of_stack(scan::own_thread_pointer(), here);
  if (begin != 0) return begin;
  if (alloc::os_thread_id() != alloc::os_process_id()) return 0;
  const auto end = reinterpret_cast<std::uintptr_t>(__libc_stack_end);
  rlimit limit{};
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || here >= end) return 0;
  const std::uintptr_t most = limit.rlim_cur < end ? limit.rlim_cur : end - alloc::kOsPageBytes;
  return end - here < most ? end - most : 0;
}

// Calls nobody, since that would use what is being cleared. What was never touched is not touched now.
[[gnu::noinline]] void clear_down_to(std::uintptr_t begin) noexcept {
  constexpr std::uintptr_t kRedZoneBytes = 128;
  constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
  std::uintptr_t end = 0;
  asm volatile("mov %%rsp, %0" : "=r"(end));
  end = (end - kRedZoneBytes) & ~(kWord - 1);
  while (end > begin) {
    const std::uintptr_t page = (end - 1) & ~(alloc::kOsPageBytes - 1);
    unsigned char is_there = 0;
    if (scan::bare_call(SYS_mincore, static_cast<long>(page), alloc::kOsPageBytes, scan::bare_argument(&is_there)) !=
        0) {
      return;  // nothing is mapped there
    }
    std::uintptr_t from = page > begin ? page : begin;
    std::uintptr_t words = (end - from) / kWord;
    if ((is_there & 1) != 0) asm volatile("rep stosq" : "+D"(from), "+c"(words) : "a"(0) : "memory");
    end = page;
  }
}

}  // namespace

void scrub_stack() noexcept {
  const alloc::ErrnoKeeper keeper;
  const std::uintptr_t begin = begin_of_stack_at(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)));
  if (begin != 0) clear_down_to(begin);
}

}  // namespace arenascan::api
