// A thread waits, scan after scan stops it, and one signal of the program's own comes, often while it stands still: it
// interrupts the wait. Another process sends it when it has seen the thread wait.
#include <arenascan/arena.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

constexpr int kRounds = 200;
constexpr std::size_t kHeld = 100'000;  // a mark of some milliseconds
constexpr int kWaitMs = 1'000;

std::atomic<bool> g_done{false};

std::atomic<int> g_signals{0};

void on_signal(int) { ++g_signals; }

bool waits_in_poll(pid_t process, int thread) {
  const std::string path = "/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/syscall";
  char text[16] = {};
  std::FILE* const file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return false;
  const bool is_read = std::fgets(text, sizeof(text), file) != nullptr;
  std::fclose(file);
  const long call = text[0] == 'r' ? -1 : std::strtol(text, nullptr, 10);  // "running"
  return is_read && (call == SYS_poll || call == SYS_ppoll);
}

// Sends a signal to each thread whose number it is told.
[[noreturn]] void send_signals(int from) {
  std::minstd_rand random(1);
  const pid_t process = getppid();
  for (int thread = 0; read(from, &thread, sizeof(thread)) == sizeof(thread);) {
    while (!waits_in_poll(process, thread)) {
    }
    usleep(random() % 10'000);
    syscall(SYS_tgkill, process, thread, SIGUSR1);
  }
  _exit(0);
}

// The program stands still for each mark.
void scan() {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.stop = 1;
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(&options, &result) == 0);
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // without SA_RESTART
  CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
  int wanted[2];
  CHECK(pipe(wanted) == 0);
  const pid_t sender = fork();
  if (sender == 0) {
    close(wanted[1]);
    send_signals(wanted[0]);
  }
  std::vector<void*> held;
  for (std::size_t i = 0; i < kHeld; ++i) held.push_back(std::malloc(100));
  int missed = 0;
  int noticed = 0;  // stops
  std::thread waiter([&] {
    const int thread = static_cast<int>(syscall(SYS_gettid));
    for (int i = 0; i < kRounds; ++i) {
      CHECK(write(wanted[1], &thread, sizeof(thread)) == sizeof(thread));
      const int before = g_signals;
      const int result = poll(nullptr, 0, kWaitMs);
      CHECK(result == 0 || errno == EINTR);
      if (result == 0) ++missed;
      if (result != 0 && g_signals == before) ++noticed;
    }
    g_done = true;
  });
  while (!g_done) scan();
  waiter.join();
  close(wanted[1]);
  int status = -1;
  CHECK(waitpid(sender, &status, 0) == sender);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  if (missed != 0) std::fprintf(stderr, "%d of %d signals did not interrupt the wait\n", missed, kRounds);
  if (noticed != 0) std::fprintf(stderr, "%d of %d waits were interrupted by a scan\n", noticed, kRounds);
  CHECK(missed == 0);
  CHECK(noticed == 0);
  return arenascan::test::finish();
}
