#include "api/report/symbolizer.h"

#include <dlfcn.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "alloc/check.h"
#include "alloc/meta_vector.h"
#include "alloc/options.h"
#include "alloc/os.h"

namespace arenascan::api::report {
namespace {

constexpr int kAnswerTimeoutMs = 20'000;
constexpr std::size_t kStackBytes = std::size_t{64} << 10;

// Shared with the two children, which run in this process's memory.
struct Launch {
  const char* path;
  const char* const* environment;
  int fd;
  char* inner_stack_top;
  bool executed = true;
};

int run_helper(void* opaque) {
  auto* const launch = static_cast<Launch*>(opaque);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const char* const arguments[] = {launch->path, "symbolize", nullptr};
  if (dup2(launch->fd, STDIN_FILENO) >= 0 && dup2(launch->fd, STDOUT_FILENO) >= 0) {
    execve(launch->path, const_cast<char* const*>(arguments), const_cast<char* const*>(launch->environment));
  }
  launch->executed = false;
  _exit(127);
}

int run_intermediate(void* opaque) {
  auto* const launch = static_cast<Launch*>(opaque);
  if (clone(run_helper, launch->inner_stack_top, CLONE_VM | CLONE_VFORK, launch) < 0) launch->executed = false;
  _exit(0);
}

bool is_executable(std::string_view directory, std::string_view rest, alloc::FixedText& path) noexcept {
  path = {};
  path.text(directory).text(rest).text({"\0", 1});
  return access(path.view().data(), X_OK) == 0;
}

// The command: where the option says, or beside this library, or where an installation puts it.
bool find_command(alloc::FixedText& path) noexcept {
  const std::string_view wanted = alloc::options().symbolizer.view();
  if (!wanted.empty()) return is_executable(wanted, "", path);
  Dl_info own{};
  if (dladdr(reinterpret_cast<const void*>(&find_command), &own) == 0 || own.dli_fname == nullptr) return false;
  const std::string_view library(own.dli_fname);
  const std::size_t slash = library.rfind('/');
  const std::string_view directory = slash == std::string_view::npos ? "." : library.substr(0, slash);
  for (const std::string_view place : {"/arenascan", "/../bin/arenascan", "/../../bin/arenascan"}) {
    if (is_executable(directory, place, path)) return true;
  }
  return is_executable("/usr/bin", "/arenascan", path);
}

// The environment without what would bring this library into the helper.
bool copy_environment(alloc::MetaVector<const char*>& copy) noexcept {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    if (variable.starts_with("LD_PRELOAD=") || variable.starts_with("LD_AUDIT=")) continue;
    if (variable.starts_with("DEBUGINFOD_URLS=")) continue;
    if (!copy.push_back(*entry)) return false;
  }
  return copy.push_back(nullptr);
}

bool launch_helper(const char* path, int fd) noexcept {
  alloc::MetaVector<const char*> environment;
  char* const stacks = static_cast<char*>(alloc::meta_allocate(2 * kStackBytes));
  if (stacks == nullptr || !copy_environment(environment)) {
    alloc::meta_free(stacks);
    return false;
  }
  Launch launch{path, environment.begin(), fd, stacks + kStackBytes};
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int child = clone(run_intermediate, stacks + 2 * kStackBytes, CLONE_VM | CLONE_VFORK, &launch);
  if (child > 0) {
    while (waitpid(child, nullptr, __WCLONE) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  alloc::meta_free(stacks);
  return child > 0 && launch.executed;
}

}  // namespace

Symbolizer::~Symbolizer() { stop(); }

void Symbolizer::stop() noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  state_ = State::kUnavailable;
}

void Symbolizer::start() noexcept {
  state_ = State::kUnavailable;
  alloc::FixedText path;
  int fds[2];
  if (!alloc::options().symbolize || !find_command(path)) return;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return;
  const bool launched = launch_helper(path.view().data(), fds[1]);
  close(fds[1]);
  fd_ = fds[0];
  if (launched) {
    state_ = State::kRunning;
  } else {
    stop();
  }
}

bool Symbolizer::ask(std::string_view module, std::uintptr_t offset) noexcept {
  alloc::FixedText question;
  question.text(module).text(" ").hex(offset).text("\n");
  const std::string_view text = question.view();
  begin_ = end_ = 0;
  return send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

bool Symbolizer::read_line(std::string_view& line) noexcept {
  for (;;) {
    if (void* const newline = std::memchr(buffer_ + begin_, '\n', end_ - begin_)) {
      const auto length = static_cast<std::size_t>(static_cast<char*>(newline) - (buffer_ + begin_));
      line = {buffer_ + begin_, length};
      begin_ += length + 1;
      return true;
    }
    if (end_ == sizeof(buffer_)) return false;
    pollfd wait{fd_, POLLIN, 0};
    const int ready = poll(&wait, 1, kAnswerTimeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t got = recv(fd_, buffer_ + end_, sizeof(buffer_) - end_, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    end_ += static_cast<std::size_t>(got);
  }
}

bool Symbolizer::symbolize(std::string_view module, std::uintptr_t offset, Visit visit, void* argument) noexcept {
  const int saved_errno = errno;
  if (state_ == State::kNotStarted) start();
  bool known = false;
  bool answered = state_ == State::kRunning && ask(module, offset);
  while (answered) {
    SourceFrame frame;
    answered = read_line(frame.function);
    if (!answered || frame.function.empty()) break;
    answered = read_line(frame.place);
    if (!answered || frame.function == "??") continue;
    if (frame.place.starts_with("??")) frame.place = {};
    visit(frame, argument);
    known = true;
  }
  if (state_ == State::kRunning && !answered) stop();
  errno = saved_errno;
  return known;
}

}  // namespace arenascan::api::report
