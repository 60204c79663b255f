// A report, for which a helper process names the symbols, leaves no trace in the program: no child, no SIGCHLD, no open
// file, no changed errno, no allocation on the program's heap.
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

volatile sig_atomic_t g_child_signals = 0;

int open_files() {
  int count = 0;
  DIR* const directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

std::uint64_t live_objects() {
  arena_scan_result result{};
  result.size = sizeof(result);
  arena_scan_ex(nullptr, &result);
  return result.seen.objects;
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_child_signals = g_child_signals + 1; };
  sigaction(SIGCHLD, &action, nullptr);

  allocate_hidden();
  scrub_stack();
  std::FILE* const file = std::tmpfile();
  CHECK(arena_scan() >= 1);
  const int files = open_files();
  const std::uint64_t objects = live_objects();
  errno = 4711;
  CHECK(arena_report(fileno(file), "text") == 0);
  CHECK(errno == 4711);
  usleep(50'000);  // the helper ends when its socket closes
  CHECK(g_child_signals == 0);
  errno = 0;
  CHECK(waitpid(-1, nullptr, WNOHANG | __WALL) == -1 && errno == ECHILD);
  CHECK(open_files() == files);
  CHECK(live_objects() == objects);

  std::string text(100'000, 0);
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  CHECK(text.find("arenascan::test::allocate_hidden()") != std::string::npos);
  CHECK(text.find("root_test.h:") != std::string::npos);
  CHECK(text.find("SUMMARY: LeakSanitizer: ") != std::string::npos);
  std::fclose(file);
  return finish();
}
