// A process that holds a thread of this one by tracing it, as if that got no processor any more: it could answer a
// signal, and does not.
#pragma once

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

}  // namespace arenascan::test
