#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

// A limit of the process, 0 when there is none.
std::size_t limit_of(int resource) noexcept {
  const ErrnoKeeper keeper;
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
  return limit.rlim_cur == 0 ? 1 : limit.rlim_cur;
}

// What all processes together may commit where the system never overcommits (vm.overcommit_memory=2); else 0.
std::size_t system_commit_limit() noexcept {
  constexpr std::string_view kKey = "CommitLimit:";
  char text[4096];
  if (os_read_file("/proc/sys/vm/overcommit_memory", text, sizeof(text)) <= 0 || text[0] != '2') return 0;
  const std::ptrdiff_t length = os_read_file("/proc/meminfo", text, sizeof(text));
  std::string_view rest(text, length < 0 ? 0 : static_cast<std::size_t>(length));
  const std::size_t at = rest.find(kKey);
  if (at == std::string_view::npos) return 0;
  rest.remove_prefix(at + kKey.size());
  rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(' ')));
  std::size_t kib = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), kib);
  return kib * 1024;
}

}  // namespace

void* os_reserve(std::size_t bytes, std::size_t alignment) noexcept {
  const ErrnoKeeper keeper;
  bytes = (bytes + kOsPageBytes - 1) & ~(kOsPageBytes - 1);
  const std::size_t extra = alignment > kOsPageBytes ? alignment - kOsPageBytes : 0;
  void* const raw = mmap(nullptr, bytes + extra, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t aligned = (begin + alignment - 1) & ~(alignment - 1);
  const std::uintptr_t end = begin + bytes + extra;
  if (aligned > begin) munmap(raw, aligned - begin);
  if (end > aligned + bytes) munmap(reinterpret_cast<void*>(aligned + bytes), end - aligned - bytes);
  return reinterpret_cast<void*>(aligned);
}

void os_release(void* memory, std::size_t bytes) noexcept {
  const ErrnoKeeper keeper;
  munmap(memory, (bytes + kOsPageBytes - 1) & ~(kOsPageBytes - 1));
}

bool os_commit(void* memory, std::size_t bytes) noexcept {
  const ErrnoKeeper keeper;
  return syscall(SYS_mprotect, memory, bytes, PROT_READ | PROT_WRITE) == 0;
}

bool os_decommit(void* memory, std::size_t bytes) noexcept {
  const ErrnoKeeper keeper;
  return madvise(memory, bytes, MADV_DONTNEED) == 0;
}

void os_populate(void* memory, std::size_t bytes) noexcept {
  const ErrnoKeeper keeper;
  madvise(memory, bytes, MADV_POPULATE_WRITE);
}

void os_prefer_huge_pages(void* memory, std::size_t bytes) noexcept {
  const ErrnoKeeper keeper;
  madvise(memory, bytes, MADV_HUGEPAGE);
}

std::size_t os_address_space_limit_bytes() noexcept { return limit_of(RLIMIT_AS); }

std::size_t os_commit_limit_bytes() noexcept {
  std::size_t least = 0;
  for (const std::size_t limit : {limit_of(RLIMIT_DATA), limit_of(RLIMIT_AS), system_commit_limit()}) {
    if (limit != 0 && (least == 0 || limit < least)) least = limit;
  }
  return least;
}

int os_write_all(int fd, const void* data, std::size_t bytes) noexcept {
  const ErrnoKeeper keeper;
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = write(fd, at, bytes);
    if (written < 0 && errno != EINTR) return errno;
    if (written <= 0) continue;
    at += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return 0;
}

std::ptrdiff_t os_read_file(const char* path, char* buffer, std::size_t capacity) noexcept {
  const ErrnoKeeper keeper;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  std::ptrdiff_t length = 0;
  while (length < static_cast<std::ptrdiff_t>(capacity)) {
    const ssize_t got = read(fd, buffer + length, capacity - static_cast<std::size_t>(length));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) length = -errno;
    if (got <= 0) break;
    length += got;
  }
  close(fd);
  return length;
}

std::uint64_t os_monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

void os_sleep_ns(std::uint64_t ns) noexcept {
  const std::uint64_t until = os_monotonic_ns() + ns;
  const timespec deadline{static_cast<time_t>(until / kNsPerSecond), static_cast<long>(until % kNsPerSecond)};
  // Returns the error instead of setting errno.
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
  }
}

CodePlace os_code_place(std::uintptr_t address) noexcept {
  dl_find_object found{};
  if (_dl_find_object(reinterpret_cast<void*>(address), &found) != 0 || found.dlfo_link_map == nullptr) return {};
  return {found.dlfo_link_map->l_name, address - found.dlfo_link_map->l_addr};
}

std::size_t os_thread_count() noexcept {
  const ErrnoKeeper keeper;
  struct stat tasks {};
  // A directory has two links and one more for each directory in it.
  if (stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 2) return tasks.st_nlink - 2;
  // "1234 (name) S 1 ...": the number comes 18 fields behind the name, which may have anything in it.
  constexpr int kFieldsBetween = 17;
  char text[1024];
  const std::ptrdiff_t length = os_read_file("/proc/self/stat", text, sizeof(text));
  std::string_view rest(text, length < 0 ? 0 : static_cast<std::size_t>(length));
  rest.remove_prefix(std::min(rest.size(), rest.rfind(')') + 2));
  for (int i = 0; i < kFieldsBetween; ++i) {
    const std::size_t space = rest.find(' ');
    rest.remove_prefix(space == std::string_view::npos ? rest.size() : space + 1);
  }
  std::size_t count = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), count);
  return count;
}

void os_yield() noexcept { sched_yield(); }

bool os_is_privileged() noexcept {
  const ErrnoKeeper keeper;
  return getauxval(AT_SECURE) != 0;
}

std::size_t os_processor_count() noexcept {
  const ErrnoKeeper keeper;
  cpu_set_t set;
  // The kernel's answer is as long as its own sets are; a larger machine has more than one processor in any case.
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 2;
  return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
}

int os_process_id() noexcept { return static_cast<int>(syscall(SYS_getpid)); }
int os_thread_id() noexcept { return static_cast<int>(syscall(SYS_gettid)); }

}  // namespace arenascan::alloc
