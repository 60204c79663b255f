// The system calls that fail on demand, by kinds: what one function of the library does about them is the same.
//
// Only errors that the kernel gives to a caller who makes no mistake: no memory, no file left, not allowed, unknown to
// an older kernel. `lasting` ones may be given to all calls from one on; the others would be nonsense then (a call that
// is interrupted for ever).
#pragma once

#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <iterator>

namespace arenascan::test {

struct CallKind {
  const char* name;
  std::array<int, 2> numbers;  // of system calls; -1: none
  std::array<int, 3> errors;   // 0: none
  int lasting;                 // how many of them, from the front
};

inline constexpr CallKind kCallKinds[] = {
    {"mmap", {SYS_mmap, SYS_mremap}, {ENOMEM, EAGAIN}, 2},
    {"munmap", {SYS_munmap, -1}, {ENOMEM}, 1},
    {"mprotect", {SYS_mprotect, -1}, {ENOMEM, EACCES}, 2},
    {"madvise", {SYS_madvise, -1}, {ENOMEM, EINVAL, EAGAIN}, 3},
    {"mincore", {SYS_mincore, -1}, {ENOMEM, EAGAIN}, 1},
    {"open", {SYS_openat, SYS_open}, {EMFILE, EACCES, ENOMEM}, 3},
    {"read", {SYS_read, SYS_pread64}, {ENOMEM, EPERM, EINTR}, 2},
    {"getdents", {SYS_getdents64, -1}, {ENOMEM, EIO}, 2},
    {"stat", {SYS_newfstatat, SYS_statx}, {ENOMEM, EACCES}, 2},
    {"write", {SYS_write, SYS_pwrite64}, {ENOSPC, EIO, EINTR}, 2},
    {"ftruncate", {SYS_ftruncate, SYS_fallocate}, {ENOSPC, EIO}, 2},
    {"fcntl", {SYS_fcntl, -1}, {EMFILE, EINVAL}, 2},
    {"ioctl", {SYS_ioctl, -1}, {ENOTTY, ENOMEM, EINTR}, 2},
    {"userfaultfd", {SYS_userfaultfd, -1}, {EPERM, ENOSYS, ENFILE}, 3},
    {"clone", {SYS_clone, SYS_clone3}, {EAGAIN, ENOMEM}, 2},
    {"sigaction", {SYS_rt_sigaction, -1}, {EINVAL}, 1},
    {"signal", {SYS_rt_tgsigqueueinfo, SYS_tgkill}, {EAGAIN, EPERM}, 2},
    {"ptrace", {SYS_ptrace, -1}, {EPERM, EIO}, 2},
    {"prctl", {SYS_prctl, -1}, {EINVAL, EPERM}, 2},
    {"affinity", {SYS_sched_getaffinity, -1}, {EPERM, ENOSYS}, 2},
    {"limit", {SYS_prlimit64, -1}, {EPERM}, 1},
    {"socket", {SYS_socket, SYS_accept4}, {EMFILE, ENOMEM}, 2},
    {"bind", {SYS_bind, SYS_listen}, {EACCES, ENOMEM}, 2},
    {"connect", {SYS_connect, SYS_getsockopt}, {ECONNREFUSED, ENOMEM}, 2},
    {"send", {SYS_sendto, SYS_recvfrom}, {ECONNRESET, ENOMEM, EINTR}, 2},
    {"memfd", {SYS_memfd_create, -1}, {EMFILE, ENOSYS}, 2},
    {"mkdir", {SYS_mkdir, SYS_unlink}, {EACCES, ENOSPC}, 2},
    {"poll", {SYS_poll, SYS_ppoll}, {ENOMEM, EINTR}, 1},
};
inline constexpr std::size_t kCallKindCount = std::size(kCallKinds);

// Index of a call's kind, or kCallKindCount.
constexpr std::size_t kind_of_call(int number) {
  std::size_t kind = 0;
  while (kind < kCallKindCount && kCallKinds[kind].numbers[0] != number && kCallKinds[kind].numbers[1] != number)
    ++kind;
  return kind;
}

constexpr int error_count(const CallKind& kind) {
  int count = 0;
  while (count < static_cast<int>(kind.errors.size()) && kind.errors[static_cast<std::size_t>(count)] != 0) ++count;
  return count;
}

}  // namespace arenascan::test
