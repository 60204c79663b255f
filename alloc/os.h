// The operating system behind one small contract: address space, raw output, small files, time, identity.
//
// Everything above this header is written against these functions; the Linux side is os_linux.cpp. None of them
// allocates, takes a lock or throws, none changes errno unless it says so, and all are safe to call before any
// constructor has run, from inside the dynamic loader, and while every other thread is stopped.
//
// Address space goes through three states:
//
//     (nothing) --reserve--> reserved --commit--> committed --decommit--> committed, empty
//         ^                                                                     |
//         +---------------------------------release------------------------------+
//
// Reserved memory cannot be touched and is not charged to the overcommit limit. Committed memory is readable and
// writable and reads as zero until written. Decommitted memory stays accessible and reads as zero again.
//
// Called by: everything.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace arenascan::alloc {

inline constexpr std::size_t kOsPageBytes = 4096;

// Puts errno back as it was: a leak checker leaves no trace in its host.
class ErrnoKeeper {
 public:
  ErrnoKeeper() noexcept : saved_(errno) {}
  ~ErrnoKeeper() { errno = saved_; }
  ErrnoKeeper(const ErrnoKeeper&) = delete;
  ErrnoKeeper& operator=(const ErrnoKeeper&) = delete;

 private:
  int saved_;
};

// Reserves `bytes` of address space aligned to `alignment` (a power of two, at least an OS page). Null when the
// system refuses (RLIMIT_AS, no hole that large).
void* os_reserve(std::size_t bytes, std::size_t alignment) noexcept;

// Gives the address range back. `memory` and `bytes` are those of one os_reserve.
void os_release(void* memory, std::size_t bytes) noexcept;

// Makes part of a reserved range usable. False when the system refuses (overcommit limit, RLIMIT_DATA, map count).
[[nodiscard]] bool os_commit(void* memory, std::size_t bytes) noexcept;

// Drops the contents of committed memory; it stays accessible and reads as zero. False: the system does not (locked
// memory), and any of it may hold what it held before.
[[nodiscard]] bool os_decommit(void* memory, std::size_t bytes) noexcept;

// Gives committed memory its OS pages now, all at once, instead of one by one at the first write to each. A hint:
// nothing happens where the system cannot (Linux before 5.14).
void os_populate(void* memory, std::size_t bytes) noexcept;

// Asks for huge pages behind committed memory; nothing happens where the system has none to give.
void os_prefer_huge_pages(void* memory, std::size_t bytes) noexcept;

// The limit on the process's address space (RLIMIT_AS) in bytes; 0 when there is none.
std::size_t os_address_space_limit_bytes() noexcept;

// How much memory the process may make accessible in all, as far as somebody has set a limit (RLIMIT_DATA, RLIMIT_AS,
// the system's commit limit where it does not overcommit); 0 when nobody has.
std::size_t os_commit_limit_bytes() noexcept;

// Writes all of `bytes` to `fd`, going on after short writes and EINTR. Returns 0 or the errno value of the failure;
// the caller's errno is kept.
int os_write_all(int fd, const void* data, std::size_t bytes) noexcept;

// Reads a small file from its beginning into `buffer`, at most `capacity` bytes. Returns the number of bytes read, all
// that there are; or the errno value of the failure, negative, when it could not be opened or read to its end.
std::ptrdiff_t os_read_file(const char* path, char* buffer, std::size_t capacity) noexcept;

// Monotonic time in nanoseconds.
std::uint64_t os_monotonic_ns() noexcept;

// Blocks the calling thread for about `ns` nanoseconds; keeps errno, goes on after EINTR.
void os_sleep_ns(std::uint64_t ns) noexcept;

// Lets another thread have the processor, if one waits for it.
void os_yield() noexcept;

// The loaded module that holds a code address: its path as the loader knows it (empty for the main program) and the
// address's offset from where it was loaded. Takes no lock. `module` is null when no module does.
struct CodePlace {
  const char* module = nullptr;
  std::uintptr_t offset = 0;
};
CodePlace os_code_place(std::uintptr_t address) noexcept;

// Whether the process began with rights that its caller may not have: set-uid and set-gid programs, file capabilities.
bool os_is_privileged() noexcept;

// Number of the process's threads, whoever made them; 0 when the system does not tell.
std::size_t os_thread_count() noexcept;

// Processors that the calling thread may run on; at least 1.
std::size_t os_processor_count() noexcept;

int os_process_id() noexcept;
int os_thread_id() noexcept;

}  // namespace arenascan::alloc
