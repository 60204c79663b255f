// However many threads mark together, the verdict is the same, and none of them is left: of a heap of all sizes, with
// lists, cycles and large blocks, in both ways, alone and beside another thread. The program's signals are not theirs.
#include <arenascan/arena.h>
#include <dirent.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

struct Node {
  Node* next;
  Node* cross;
};

std::vector<Node*> g_heads;
pid_t g_main;
std::atomic<int> g_alarms{0};
std::atomic<int> g_foreign_alarms{0};

void on_alarm(int) { ++(gettid() == g_main ? g_alarms : g_foreign_alarms); }
std::atomic<bool> g_done{false};

std::uint64_t next_random() {
  static std::uint64_t state = 88172645463325252;
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

Node* make(Node* next, Node* cross) {
  const std::size_t bytes = next_random() % 1000 == 0 ? 40'000 + next_random() % 300'000 : 16 + next_random() % 600;
  auto* const node = static_cast<Node*>(std::calloc(1, bytes));
  *node = {next, cross};
  return node;
}

// Chains that are held, each node pointing to an earlier one of any chain; and cycles of 10 that nobody holds.
constexpr std::size_t kHeld = 300'000;
constexpr std::size_t kCycles = 100;
constexpr std::size_t kNodesOfCycle = 10;
constexpr std::size_t kFew = 4;
[[gnu::noinline]] void build() {
  constexpr std::size_t kChains = 5'000;
  g_heads.resize(kChains);
  for (std::size_t i = 0; i < kHeld; ++i) {
    Node*& head = g_heads[next_random() % kChains];
    head = make(head, g_heads[next_random() % kChains]);
    if (i % (kHeld / kCycles) != 0) continue;
    Node* const first = make(nullptr, head);
    Node* last = first;
    for (std::size_t k = 1; k < kNodesOfCycle; ++k) last = make(last, g_heads[next_random() % kChains]);
    first->next = last;
  }
}

[[gnu::noinline]] void scrub_stack() {
  volatile char dead[32768];
  for (volatile char& byte : dead) byte = 0;
}

std::size_t count_threads() {
  std::size_t count = 0;
  DIR* const tasks = opendir("/proc/self/task");
  while (const dirent* const task = readdir(tasks)) count += task->d_name[0] != '.' ? 1 : 0;
  closedir(tasks);
  return count;
}

arena_scan_result scan(unsigned markers, unsigned stop) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.markers = markers;
  options.stop = stop;
  arena_scan_result result{};
  result.size = sizeof(result);
  errno = EILSEQ;
  CHECK(arena_scan_ex(&options, &result) == 0);
  CHECK(errno == EILSEQ);
  CHECK(result.incomplete == ARENA_COMPLETE);
  return result;
}

void scan_all() {
  const std::size_t threads = count_threads();
  const arena_scan_result alone = scan(1, 1);
  CHECK(alone.markers == 1);
  CHECK(alone.leaked.objects == kCycles * kNodesOfCycle);
  for (unsigned markers = 2; markers <= 8; ++markers) {
    for (const unsigned stop : {1U, 0U}) {
      const arena_scan_result shared = scan(markers, stop);
      CHECK(shared.markers == markers);
      CHECK(shared.leaked.objects == alone.leaked.objects);
      CHECK(shared.leaked.bytes == alone.leaked.bytes);
      CHECK(shared.direct.objects == alone.direct.objects);
      CHECK(shared.seen.objects == shared.reached.objects + shared.orphans.objects);
      // But for what the C library allocates and frees for its threads.
      if (shared.concurrent == 0) CHECK(shared.reached.objects - alone.reached.objects + kFew <= 2 * kFew);
      CHECK(count_threads() == threads);
    }
  }
}

}  // namespace

int main() {
  g_main = gettid();
  struct sigaction action {};
  action.sa_handler = on_alarm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval each_millisecond{{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &each_millisecond, nullptr);
  build();
  scrub_stack();
  scan_all();
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
  std::thread waiter([] {
    while (!g_done.load(std::memory_order_relaxed)) std::this_thread::yield();
  });
  pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
  scan_all();
  g_done = true;
  waiter.join();
  CHECK(g_alarms > 0);
  CHECK(g_foreign_alarms == 0);

  arena_scan_options wrong{};
  wrong.size = sizeof(wrong);
  wrong.markers = 9;
  errno = 0;
  CHECK(arena_scan_ex(&wrong, nullptr) == -1);
  CHECK(errno == EINVAL);
  return arenascan::test::finish();
}
