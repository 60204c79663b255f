// Preloaded beside the library, into programs as they are: scans each ARENA_SCAN_MS milliseconds, in forked children
// too, and adds a line for each process with what its scans said to the file ARENA_SCAN_LOG when it exits, or at once
// when a scan was not whole.
#include <arenascan/arena.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using Scan = int (*)(const arena_scan_options*, arena_scan_result*);
Scan g_scan = nullptr;
long g_period_ms = 1000;
char g_log[512];                  // some programs write over their environment
std::atomic<bool> g_ends{false};  // no scan counts any more
std::atomic<unsigned long> g_scans{0};
std::atomic<unsigned long> g_incomplete{0};
std::atomic<unsigned long> g_leaked{0};     // at most
std::atomic<unsigned long> g_recovered{0};  // in all: what was told of them was not so

void write_line(const char* why) {
  char line[512];
  const int length = std::snprintf(line, sizeof(line), "%s %d scans %lu incomplete %lu leaked %lu recovered %lu %s\n",
                                   program_invocation_short_name, getpid(), g_scans.load(), g_incomplete.load(),
                                   g_leaked.load(), g_recovered.load(), why);
  const int fd = open(g_log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd >= 0 && length > 0) static_cast<void>(!write(fd, line, static_cast<std::size_t>(length)));
  close(fd);
}

// A process ends with its last thread, which must not be this one: the first may have left by pthread_exit.
bool is_alone() {
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return false;
  bool is_other_alive = false;
  while (const dirent* const task = readdir(tasks)) {
    if (task->d_name[0] == '.' || std::atoi(task->d_name) == gettid()) continue;
    char path[64];
    char stat[256]{};
    std::snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", task->d_name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    static_cast<void>(!read(fd, stat, sizeof(stat) - 1));
    close(fd);
    const char* const state = std::strrchr(stat, ')');
    is_other_alive = is_other_alive || (state != nullptr && state[2] != 'Z' && state[2] != 'X');
  }
  closedir(tasks);
  return !is_other_alive;
}

void* scan_until_alone(void*) {
  // Early for the first time, since many processes live for less than a second.
  for (long wait_ms = g_period_ms / 50;; wait_ms = g_period_ms) {
    const timespec wait{wait_ms / 1000, wait_ms % 1000 * 1'000'000};
    nanosleep(&wait, nullptr);
    if (is_alone()) return nullptr;
    arena_scan_result result{};
    result.size = sizeof(result);
    if (g_ends || g_scan(nullptr, &result) != 0 || g_ends) continue;
    ++g_scans;
    if (result.leaked.objects > g_leaked) g_leaked = result.leaked.objects;
    g_recovered += result.recovered.objects;
    if (result.incomplete != ARENA_COMPLETE) {
      ++g_incomplete;
      write_line(result.incomplete_why);
    } else if (result.recovered.objects != 0) {
      write_line("a leak was none");
    }
  }
}

// Signals are for the program's own threads.
void start() {
  g_scans = g_incomplete = g_leaked = g_recovered = 0;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, scan_until_alone, nullptr) == 0) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

[[gnu::constructor]] void begin() {
  g_scan = reinterpret_cast<Scan>(dlsym(RTLD_DEFAULT, "arena_scan_ex"));
  const char* const log = std::getenv("ARENA_SCAN_LOG");
  if (g_scan == nullptr || log == nullptr) return;
  std::snprintf(g_log, sizeof(g_log), "%s", log);
  if (const char* const period = std::getenv("ARENA_SCAN_MS")) g_period_ms = std::atol(period);
  pthread_atfork(nullptr, nullptr, start);
  start();
}

// Before the library's scan at exit, which takes what main has left on its stack for dead: a later scan, to which that
// stack is alive again, might find there what was told as leaked. Destructors run in the order of LD_PRELOAD.
[[gnu::destructor]] void end() {
  g_ends = true;
  if (g_log[0] != 0) write_line("");
}

}  // namespace
