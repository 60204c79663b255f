#include "tests/faults/supervisor.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

namespace arenascan::test {
namespace {

class File {
 public:
  explicit File(int number) : number_(number) {}
  ~File() {
    if (number_ >= 0) close(number_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

std::vector<sock_filter> make_filter() {
  constexpr auto kSupervisedCalls = [] {
    std::array<int, kCallKindCount * 2> numbers{};
    std::size_t count = 0;
    for (const CallKind& kind : kCallKinds) {
      for (const int number : kind.numbers) numbers[count++] = number;
    }
    return numbers;
  }();
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const int number : kSupervisedCalls) {
    if (number < 0) continue;
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return filter;
}

// In the child, after fork. Addresses are the same in each run, so that runs are. Once its listener is told to
// `to_parent`, it waits until `from_parent` is closed.
[[noreturn]] void become(const std::vector<std::string>& command, std::vector<sock_filter> filter, int to_parent,
                         int from_parent, int output) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  personality(ADDR_NO_RANDOMIZE);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  long listener = -1;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
    // A call that has been told of is not interrupted before it is answered: each is counted once.
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                       SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
  }
  const long told = listener >= 0 ? listener : -errno;
  // write() itself is supervised from here on.
  const iovec piece{const_cast<long*>(&told), sizeof(told)};
  if (writev(to_parent, &piece, 1) != sizeof(told) || listener < 0) _exit(126);
  pollfd go_ahead{from_parent, POLLIN, 0};
  poll(&go_ahead, 1, -1);
  execv(arguments[0], arguments.data());
  _exit(127);
}

std::string read_all(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class Supervisor {
 public:
  Supervisor(pid_t child, int listener, Plan plan, Run& run)
      : child_(child), listener_(listener), plan_(plan), run_(run) {}

  // Until the child ends.
  void serve(std::chrono::steady_clock::time_point deadline) {
    const File ended(static_cast<int>(syscall(SYS_pidfd_open, child_, 0)));
    for (;;) {
      std::array<pollfd, 2> events{{{listener_, POLLIN, 0}, {ended.number(), POLLIN, 0}}};
      const auto left = deadline - std::chrono::steady_clock::now();
      const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
      if (left_ms <= 0) {
        run_.timed_out = true;
        return;
      }
      poll(events.data(), events.size(), static_cast<int>(left_ms));
      if (events[1].revents != 0) return;
      if ((events[0].revents & POLLIN) != 0) answer_one();
    }
  }

 private:
  void answer_one() {
    seccomp_notif call{};
    if (ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
    seccomp_notif_resp answer{};
    answer.id = call.id;
    answer.error = -decide(call);
    if (answer.error == 0 && shows_no_filter(call)) return;
    if (answer.error == 0) answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }

  int decide(const seccomp_notif& call) {
    const std::size_t kind = kind_of_call(call.data.nr);
    const bool is_text = call.data.nr == SYS_write && call.data.args[0] <= STDERR_FILENO;
    if (is_text || is_loader(call)) return 0;
    const unsigned nth = ++run_.calls[kind];
    const int error = plan_.decide(kind, nth);
    if (error != 0) run_.failed.push_back({kind, nth, error});
    return error;
  }

  // The first call of a program is its loader's; every program has it at the same place.
  bool is_loader(const seccomp_notif& call) {
    const std::uint64_t at = call.data.instruction_pointer;
    if (loader_end_ == 0) {
      std::istringstream maps(read_all("/proc/" + std::to_string(call.pid) + "/maps"));
      for (std::string line; std::getline(maps, line);) {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &begin, &end) != 2 || at < begin || at >= end) continue;
        if (line.find("/ld-") == std::string::npos) break;
        loader_begin_ = begin;
        loader_end_ = end;
      }
    }
    return at >= loader_begin_ && at < loader_end_;
  }

  // Answers an open of /proc/.../status by a copy; false: it is none.
  bool shows_no_filter(const seccomp_notif& call) {
    if (call.data.nr != SYS_openat) return false;
    std::array<char, 128> text{};
    const iovec here{text.data(), text.size() - 1};
    const iovec there{reinterpret_cast<void*>(call.data.args[1]), text.size() - 1};
    if (process_vm_readv(static_cast<pid_t>(call.pid), &here, 1, &there, 1, 0) <= 0) return false;
    std::string path(text.data());
    if (!path.ends_with("/status")) return false;
    for (const std::string own : {"/proc/self/", "/proc/thread-self/"}) {
      if (path.starts_with(own)) path = "/proc/" + std::to_string(call.pid) + "/" + path.substr(own.size());
    }
    std::string status = read_all(path);
    const std::size_t at = status.find("\nSeccomp:\t2");
    if (at == std::string::npos) return false;
    status[at + std::strlen("\nSeccomp:\t")] = '0';
    const File copy(memfd_create("status", MFD_CLOEXEC));
    if (pwrite(copy.number(), status.data(), status.size(), 0) != static_cast<ssize_t>(status.size())) return false;
    seccomp_notif_addfd file{};
    file.id = call.id;
    file.flags = SECCOMP_ADDFD_FLAG_SEND;
    file.srcfd = static_cast<unsigned>(copy.number());
    file.newfd_flags = O_CLOEXEC;
    return ioctl(listener_, SECCOMP_IOCTL_NOTIF_ADDFD, &file) >= 0;
  }

  pid_t child_;
  int listener_;
  Plan plan_;
  Run& run_;
  std::uint64_t loader_begin_ = 0;
  std::uint64_t loader_end_ = 0;
};

}  // namespace

Run run_supervised(const std::vector<std::string>& command, Plan plan, std::chrono::seconds limit) {
  Run run;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  int to_parent[2];
  int to_child[2];
  const File output(memfd_create("output", MFD_CLOEXEC));
  if (output.number() < 0 || pipe2(to_parent, O_CLOEXEC) != 0 || pipe2(to_child, O_CLOEXEC) != 0) {
    run.output = std::string("no pipes: ") + std::strerror(errno);
    return run;
  }
  const std::vector<sock_filter> filter = make_filter();
  const pid_t child = fork();
  if (child == 0) {
    close(to_child[1]);
    become(command, filter, to_parent[1], to_child[0], output.number());
  }
  close(to_parent[1]);
  close(to_child[0]);
  long told = -ECHILD;
  if (child < 0 || read(to_parent[0], &told, sizeof(told)) != sizeof(told) || told < 0) {
    run.output = std::string("no filter of system calls could be set: ") + std::strerror(static_cast<int>(-told));
    close(to_child[1]);
  } else {
    const File process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
    const File listener(static_cast<int>(syscall(SYS_pidfd_getfd, process.number(), told, 0)));
    run.was_supervised = listener.number() >= 0;
    if (!run.was_supervised) run.output = std::string("its listener cannot be had: ") + std::strerror(errno);
    close(to_child[1]);
    if (run.was_supervised) Supervisor(child, listener.number(), plan, run).serve(deadline);
    if (run.timed_out || !run.was_supervised) kill(child, SIGKILL);
    waitpid(child, &run.status, 0);
    kill(-child, SIGKILL);
  }
  close(to_parent[0]);
  if (run.was_supervised) run.output = read_all("/proc/self/fd/" + std::to_string(output.number()));
  return run;
}

}  // namespace arenascan::test
