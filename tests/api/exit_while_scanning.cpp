// A process ends while another thread of it scans, in each of the ways to end: at once, with the status it wanted, and
// with what it has written.
#include <arenascan/arena.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

constexpr int kRounds = 15;  // of each way
constexpr int kStatus = 7;
constexpr unsigned kSeconds = 20;
constexpr const char* kWays[] = {"return", "exit", "quick_exit", "_exit", "exec"};

void scan_for_ever() {
  for (;;) arena_scan();
}

// Holds enough for marks beside the program, and for some that are just stopped.
int end(const std::string& way, int round) {
  alarm(kSeconds);
  static std::vector<void*> held;
  for (int i = 0; i < round * 3'000; ++i) held.push_back(std::malloc(64));
  std::thread(scan_for_ever).detach();
  std::thread(scan_for_ever).detach();
  std::this_thread::sleep_for(std::chrono::microseconds(round * 1'700));
  std::printf("written");
  if (way == "exit") std::exit(kStatus);
  if (way == "quick_exit") {
    std::fflush(stdout);
    std::quick_exit(kStatus);
  }
  if (way == "_exit") {
    std::fflush(stdout);
    _exit(kStatus);
  }
  if (way == "exec") {
    std::fflush(stdout);
    execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
  }
  return kStatus;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) return end(argv[1], std::atoi(argv[2]));
  for (const char* const way : kWays) {
    for (int round = 0; round < kRounds; ++round) {
      int output[2];
      CHECK(pipe(output) == 0);
      const pid_t child = fork();
      if (child == 0) {
        dup2(output[1], STDOUT_FILENO);
        execl("/proc/self/exe", argv[0], way, std::to_string(round).c_str(), nullptr);
        _exit(1);
      }
      close(output[1]);
      char text[16] = {};
      CHECK(read(output[0], text, sizeof(text) - 1) == 7 && std::strcmp(text, "written") == 0);
      close(output[0]);
      int status = -1;
      CHECK(waitpid(child, &status, 0) == child);
      const bool is_right = WIFEXITED(status) && WEXITSTATUS(status) == kStatus;
      if (!is_right) std::fprintf(stderr, "%s, round %d: status 0x%x\n", way, round, status);
      CHECK(is_right);
    }
  }
  return arenascan::test::finish();
}
