// `arenascan run`: preloads the library into a program and collects the reports of the program and its children.
//
// Reports go to files in a private directory, one a process, because a program may have closed its standard error by
// the time it is scanned. They are printed in the order in which they were finished.
#include <elf.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <random>
#include <sstream>

#include "api/cli/commands.h"

namespace arenascan::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kCannotStart = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

volatile std::sig_atomic_t g_child = 0;

void forward_signal(int signal) {
  if (g_child > 0) kill(g_child, signal);
}

int fail(int status, const std::string& why) {
  std::cerr << "arenascan: " << why << '\n';
  return status;
}

fs::path own_path() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error);
}

std::optional<fs::path> find_library(const std::string& wanted) {
  std::error_code error;  // what cannot be looked at is not there
  if (!wanted.empty()) return fs::exists(wanted, error) ? std::optional(fs::absolute(wanted)) : std::nullopt;
  const fs::path directory = own_path().parent_path();
  for (const char* place : {"libarenascan.so", "../lib/libarenascan.so", "../lib/x86_64-linux-gnu/libarenascan.so"}) {
    if (fs::exists(directory / place, error)) return fs::canonical(directory / place);
  }
  return std::nullopt;
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

void put_in_front(const char* variable, const std::string& value, char separator) {
  const char* const old = std::getenv(variable);
  setenv(variable, (old == nullptr || *old == 0 ? value : value + separator + old).c_str(), 1);
}

void append(const char* variable, const std::string& value, char separator) {
  const char* const old = std::getenv(variable);
  setenv(variable, (old == nullptr || *old == 0 ? value : old + (separator + value)).c_str(), 1);
}

// A directory for reports that is removed with everything in it. Only its owner can enter it. A program that root runs
// may go on as another user, whose reports have to get in too: then anybody can who knows the name, which nobody can
// list.
class ReportDirectory {
 public:
  ReportDirectory() {
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
  ~ReportDirectory() {
    std::error_code error;
    if (!outer_.empty()) fs::remove_all(outer_, error);
  }
  ReportDirectory(const ReportDirectory&) = delete;
  ReportDirectory& operator=(const ReportDirectory&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }  // empty: it could not be made

 private:
  fs::path outer_;
  fs::path path_;
};

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void print_reports(const fs::path& directory, std::ostream& out) {
  std::error_code error;  // the program may have removed its temporary files, and these with them
  std::vector<fs::directory_entry> reports(fs::directory_iterator(directory, error), fs::directory_iterator{});
  std::sort(reports.begin(), reports.end(), [&](const fs::directory_entry& a, const fs::directory_entry& b) {
    return a.last_write_time(error) < b.last_write_time(error);
  });
  for (const fs::directory_entry& report : reports) {
    if (std::ifstream in(report.path()); in.peek() != EOF) out << in.rdbuf();
  }
}

}  // namespace

int run(const RunRequest& request) {
  const std::string& name = request.program.front();
  const std::optional<fs::path> program = find_program(name);
  if (!program) return fail(kNotFound, name + ": no such program");
  std::error_code error;
  if (fs::is_directory(*program, error) || access(program->c_str(), X_OK) != 0) {
    return fail(kNotExecutable, name + ": not an executable file");
  }
  if (const std::string obstacle = preload_obstacle(*program); !obstacle.empty()) {
    return fail(kCannotStart, program->string() + " " + obstacle);
  }
  const std::optional<fs::path> library = find_library(request.library);
  if (!library) {
    return fail(kCannotStart, request.library.empty()
                                  ? "libarenascan.so is not beside this command; name it with --library"
                                  : request.library + ": no such library");
  }
  const ReportDirectory reports;
  if (reports.path().empty()) return fail(kCannotStart, "no temporary directory could be made for the reports");

  const pid_t child = fork();
  if (child < 0) return fail(kCannotStart, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    put_in_front("LD_PRELOAD", library->string(), ':');
    append("ARENASCAN_OPTIONS", "log_path=\"" + (reports.path() / "report").string() + "\"", ':');
    append("ARENASCAN_OPTIONS", "symbolizer=\"" + own_path().string() + "\"", ':');
    for (const std::string& option : request.options) append("ARENASCAN_OPTIONS", option, ':');
    std::vector<char*> arguments;
    for (const std::string& argument : request.program) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    execv(program->c_str(), arguments.data());
    std::cerr << "arenascan: " << name << ": " << std::strerror(errno) << '\n';
    _exit(kNotExecutable);
  }
  g_child = child;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, forward_signal);
  const int status = wait_for(child);
  if (request.log.empty()) {
    print_reports(reports.path(), std::cerr);
  } else {
    std::ofstream log(request.log);
    if (!log) return fail(kCannotStart, request.log + ": cannot be written");
    print_reports(reports.path(), log);
  }
  return status;
}

}  // namespace arenascan::cli
