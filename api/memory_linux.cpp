// mprotect, wrapped: a program that makes memory of the heap inaccessible (a guard page inside a block) waits for the
// end of a scan that reads the heap meanwhile, and the next scan leaves those pages out. Other memory is passed on at
// once.
//
// The library itself calls the kernel (os_linux.cpp), never this.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>

#include "api/process.h"

using namespace arenascan;

#pragma GCC visibility push(default)
extern "C" int mprotect(void* memory, size_t bytes, int protection) noexcept {
  const auto change = [&] { return static_cast<int>(syscall(SYS_mprotect, memory, bytes, protection)); };
  if (!api::process().heap.contains(memory) || api::t_thread.scanning) return change();
  const std::scoped_lock no_scan(api::process_scanner());
  return change();
}
#pragma GCC visibility pop
