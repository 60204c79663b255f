// Processes that hold a thread of this one by tracing it, as if that got no processor any more: it could answer a
// signal, and does not.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace arenascan::test {

class Holder {
 public:
  // Holds it for so long, or, 0, until this object goes.
  explicit Holder(pid_t thread_id, unsigned milliseconds = 0) {
    char byte = 0;
    if (pipe(said_.data()) != 0 || pipe(heard_.data()) != 0 || (process_ = fork()) < 0) return;
    if (process_ == 0) hold(thread_id, milliseconds);
    prctl(PR_SET_PTRACER, process_);
    holds_ = write(heard_[1], &byte, 1) == 1 && read(said_[0], &byte, 1) == 1 && byte == kHolds;
  }
  ~Holder() {
    for (const int file : {said_[0], said_[1], heard_[0], heard_[1]}) {
      if (file >= 0) close(file);
    }
    if (process_ > 0) waitpid(process_, nullptr, 0);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  // False: nobody may trace this process.
  [[nodiscard]] bool holds() const { return holds_; }

 private:
  static constexpr char kHolds = 1;

  [[noreturn]] void hold(pid_t thread_id, unsigned milliseconds) const {
    char byte = 0;
    close(heard_[1]);
    if (read(heard_[0], &byte, 1) != 1) _exit(1);
    if (ptrace(PTRACE_ATTACH, thread_id, nullptr, nullptr) == 0 && waitpid(thread_id, nullptr, __WALL) == thread_id) {
      byte = kHolds;
    }
    if (write(said_[1], &byte, 1) != 1) _exit(1);
    if (milliseconds != 0) {
      usleep(milliseconds * 1'000);
    } else {
      while (read(heard_[0], &byte, 1) == 1) continue;  // until the other end is closed
    }
    if (byte == kHolds) ptrace(PTRACE_DETACH, thread_id, nullptr, nullptr);
    _exit(0);
  }

  std::array<int, 2> said_{-1, -1};   // by the process
  std::array<int, 2> heard_{-1, -1};  // by it
  pid_t process_ = -1;
  bool holds_ = false;
};

// Holds it again and again, each time for up to two milliseconds, until this object goes.
class NowAndThenHolder {
 public:
  explicit NowAndThenHolder(pid_t thread_id) {
    char byte = 0;
    std::array<int, 2> said{-1, -1};
    if (pipe(said.data()) != 0 || pipe(end_.data()) != 0 || (process_ = fork()) < 0) return;
    if (process_ == 0) {
      close(end_[1]);
      hold(thread_id, said[1]);
    }
    prctl(PR_SET_PTRACER, process_);
    close(said[1]);
    holds_ = read(said[0], &byte, 1) == 1;
    close(said[0]);
  }
  ~NowAndThenHolder() {
    for (const int file : end_) {
      if (file >= 0) close(file);
    }
    if (process_ > 0) waitpid(process_, nullptr, 0);
  }
  NowAndThenHolder(const NowAndThenHolder&) = delete;
  NowAndThenHolder& operator=(const NowAndThenHolder&) = delete;

  // False: nobody may trace this process.
  [[nodiscard]] bool holds() const { return holds_; }

 private:
  [[noreturn]] void hold(pid_t thread_id, int said) const {
    constexpr unsigned kLongestUs = 2'000;
    constexpr int kTries = 100;  // the other one may not have given its leave yet
    int tries = 0;
    while (ptrace(PTRACE_SEIZE, thread_id, nullptr, nullptr) != 0) {
      if (++tries == kTries) _exit(1);
      usleep(kLongestUs);
    }
    if (write(said, "", 1) != 1) _exit(1);
    fcntl(end_[0], F_SETFL, O_NONBLOCK);
    unsigned random = 1;
    for (char byte = 0; read(end_[0], &byte, 1) < 0;) {  // until the other end is closed
      ptrace(PTRACE_INTERRUPT, thread_id, nullptr, nullptr);
      int status = 0;
      if (waitpid(thread_id, &status, __WALL) != thread_id || !WIFSTOPPED(status)) break;
      for (const bool stands : {true, false}) {
        random = random * 1'664'525 + 1'013'904'223;
        if (!stands) ptrace(PTRACE_CONT, thread_id, nullptr, status >> 16 == 0 ? WSTOPSIG(status) : 0);
        usleep((random >> 16) % kLongestUs);
      }
    }
    _exit(0);
  }

  std::array<int, 2> end_{-1, -1};
  pid_t process_ = -1;
  bool holds_ = false;
};

}  // namespace arenascan::test
