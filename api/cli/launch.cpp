// Starting a program with a library preloaded.
#include "api/cli/launch.h"

#include <elf.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

namespace arenascan::cli {

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t g_child = 0;

void forward_signal(int signal) {
  if (g_child > 0) kill(g_child, signal);
}

// The file that the shell would execute for `name`. A path that cannot be looked at is left for exec to complain of.
std::optional<fs::path> find_program(const std::string& name) {
  std::error_code error;
  if (name.find('/') != std::string::npos) {
    return fs::exists(name, error) || error ? std::optional<fs::path>(name) : std::nullopt;
  }
  const char* const path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const fs::path candidate = fs::path(directory.empty() ? "." : directory) / name;
    if (fs::is_regular_file(candidate, error) && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

// Why the library cannot be preloaded into this file; empty when it can. Scripts are judged by their interpreter later.
std::string preload_obstacle(const fs::path& program) {
  struct stat status {};
  if (stat(program.c_str(), &status) != 0) return {};
  if ((status.st_mode & (S_ISUID | S_ISGID)) != 0 && geteuid() != 0) {
    return "is set-user-ID or set-group-ID, and the loader ignores LD_PRELOAD for it";
  }
  std::ifstream file(program, std::ios::binary);
  Elf64_Ehdr header{};
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return {};
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return {};
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) return "is not a 64-bit x86 program";
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    file.seekg(static_cast<std::streamoff>(header.e_phoff + i * std::size_t{header.e_phentsize}));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof(segment))) return {};
    if (segment.p_type == PT_INTERP) return {};
  }
  return "is statically linked, so nothing can be preloaded; link it with libarenascan.a instead";
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

int fail(int status, const std::string& why) {
  std::cerr << "arenascan: " << why << '\n';
  return status;
}

fs::path own_path() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error);
}

std::optional<fs::path> find_library(const std::string& wanted, const char* name) {
  std::error_code error;  // what cannot be looked at is not there
  if (!wanted.empty()) return fs::exists(wanted, error) ? std::optional(fs::absolute(wanted)) : std::nullopt;
  const fs::path directory = own_path().parent_path();
  for (const char* place : {".", "../lib", "../lib/x86_64-linux-gnu"}) {
    const fs::path candidate = directory / place / name;
    if (fs::exists(candidate, error)) return fs::canonical(candidate);
  }
  return std::nullopt;
}

std::string why_no_library(const std::string& wanted, const char* name) {
  return wanted.empty() ? std::string(name) + " is not beside this command; name it with --library"
                        : wanted + ": no such library";
}

void put_in_front(const char* variable, const std::string& value, char separator) {
  const char* const old = std::getenv(variable);
  setenv(variable, (old == nullptr || *old == 0 ? value : value + separator + old).c_str(), 1);
}

void append(const char* variable, const std::string& value, char separator) {
  const char* const old = std::getenv(variable);
  setenv(variable, (old == nullptr || *old == 0 ? value : old + (separator + value)).c_str(), 1);
}

int launch(const std::vector<std::string>& program, const std::function<void()>& prepare) {
  const std::string& name = program.front();
  const std::optional<fs::path> file = find_program(name);
  if (!file) return fail(kNotFound, name + ": no such program");
  std::error_code error;
  if (fs::is_directory(*file, error) || access(file->c_str(), X_OK) != 0) {
    return fail(kNotExecutable, name + ": not an executable file");
  }
  if (const std::string obstacle = preload_obstacle(*file); !obstacle.empty()) {
    return fail(kCannotStart, file->string() + " " + obstacle);
  }
  const pid_t child = fork();
  if (child < 0) return fail(kCannotStart, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    prepare();
    std::vector<char*> arguments;
    arguments.reserve(program.size() + 1);
    for (const std::string& argument : program) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    execv(file->c_str(), arguments.data());
    _exit(fail(kNotExecutable, name + ": " + std::strerror(errno)));
  }
  g_child = child;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, forward_signal);
  return wait_for(child);
}

TemporaryDirectory::TemporaryDirectory() {
  const char* const base = std::getenv("TMPDIR");
  std::string name = std::string(base == nullptr ? "/tmp" : base) + "/arenascan-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) return;
  outer_ = name;
  std::random_device random;
  const fs::path inner = outer_ / (std::to_string(random()) + "-" + std::to_string(random()));
  const bool is_root = geteuid() == 0;
  if (mkdir(inner.c_str(), 0700) != 0) return;
  if (is_root && (chmod(inner.c_str(), S_ISVTX | 0733) != 0 || chmod(outer_.c_str(), 0711) != 0)) return;
  path_ = inner;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  if (!outer_.empty()) fs::remove_all(outer_, error);
}

}  // namespace arenascan::cli
