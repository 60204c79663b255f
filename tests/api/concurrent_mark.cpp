// args: move pair lost hurried slowed held held_pair stopped denied closed
// Scans beside threads that do nothing but move pointers: exchanges between slots, lists spliced, vectors and arrays
// that grow. Nothing is ever lost, so nothing may be reported; with 1,000 objects lost beforehand, all of them, in each
// scan.
//
// move, lost: marked concurrently. pair: with one other thread, which spins while it is stopped, where there are two
// processors, and runs errands. hurried: with next to no time in pauses, so that most are given up; slowed: with the
// one thread of pair, which is slowed down then. held, held_pair: like move and pair, and now and then the scanner has
// no processor, so that stops are called off. stopped: with the world stopped, by option. denied: the system refuses to
// watch writes. closed: the program closes all files it does not know, again and again. ARENA_TEST_SCANS: how many
// scans.
#include <arenascan/arena.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/holder.h"

namespace {

constexpr std::size_t kHeld = 40'000;
constexpr std::size_t kLost = 1'000;
constexpr std::size_t kSlots = 64;

struct Node {
  explicit Node(Node* link) : next(link) {}
  Node* next;
  Node* young = nullptr;
  std::array<std::uint64_t, 13> rest{};
};

std::vector<Node*> g_held;                         // a heap worth a concurrent mark
std::array<std::atomic<Node*>, kSlots> g_slots{};  // each with a node that has a node
std::atomic<bool> g_done{false};
std::atomic<std::uint64_t> g_moves{0};

void exchange_between_slots(unsigned seed) {
  std::minstd_rand random(seed);
  Node* carried = new Node(new Node(nullptr));
  while (!g_done.load(std::memory_order_relaxed)) {
    carried = g_slots[random() % kSlots].exchange(carried, std::memory_order_acq_rel);
    std::swap(carried->next, g_held[seed * 1000 + random() % 1000]->next);
    g_moves.fetch_add(1, std::memory_order_relaxed);
  }
  delete carried->next;
  delete carried;
}

// Old objects hold young ones, each for some milliseconds: whenever the world stops, many are known to nothing but
// memory that was written just before.
void replace_young() {
  constexpr std::size_t kFirst = 10'000;
  constexpr std::size_t kCount = 5'000;
  for (std::size_t i = 0; !g_done.load(std::memory_order_relaxed); i = (i + 1) % kCount) {
    Node* const holder = g_held[kFirst + i];
    delete holder->young;
    holder->young = new Node(nullptr);
    g_moves.fetch_add(1, std::memory_order_relaxed);
  }
}

// Old objects hand each other young ones: few stay where they are from one reading of a page to the next.
void shuffle_young() {
  std::minstd_rand random(3);
  const auto place = [&random]() -> Node*& { return g_held[20'000 + random() % 5'000]->young; };
  while (!g_done.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 8; ++i) std::swap(place(), place());
    Node*& replaced = place();
    delete replaced;
    replaced = new Node(nullptr);
    g_moves.fetch_add(9, std::memory_order_relaxed);
  }
}

void splice_lists() {
  std::list<std::unique_ptr<Node>> lists[2];
  for (int i = 0; i < 100; ++i) lists[0].push_back(std::make_unique<Node>(nullptr));
  bool to_front = false;
  for (int from = 0; !g_done.load(std::memory_order_relaxed); from = 1 - from) {
    auto& to = lists[1 - from];
    while (!lists[from].empty()) {
      to.splice(to_front ? to.begin() : to.end(), lists[from], lists[from].begin());
      to_front = !to_front;
      g_moves.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void grow_vectors() {
  while (!g_done.load(std::memory_order_relaxed)) {
    std::vector<std::unique_ptr<Node>> vector;
    for (int i = 0; i < 500 && !g_done.load(std::memory_order_relaxed); ++i) {
      vector.push_back(std::make_unique<Node>(nullptr));
      g_moves.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void grow_arrays() {
  while (!g_done.load(std::memory_order_relaxed)) {
    Node** array = nullptr;
    std::size_t count = 0;
    for (; count < 2'000 && !g_done.load(std::memory_order_relaxed); ++count) {
      array = static_cast<Node**>(std::realloc(array, (count + 1) * sizeof(Node*)));
      array[count] = new Node(nullptr);
      g_moves.fetch_add(1, std::memory_order_relaxed);
    }
    for (std::size_t i = 0; i < count; ++i) delete array[i];
    std::free(array);
  }
}

void close_unknown_files() {
  while (!g_done.load(std::memory_order_relaxed)) {
    syscall(SYS_close_range, 3, ~0U, 0);
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  }
}

bool refuse_userfaultfd() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(rules), rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

[[gnu::noinline]] void lose_objects() {
  for (std::size_t i = 0; i < kLost; ++i) {
    Node* node = new Node(nullptr);
    asm volatile("" : "+r"(node));
  }
}

[[gnu::noinline]] void scrub_stack() {
  volatile char dead[32768];
  for (volatile char& byte : dead) byte = 0;
}

arena_scan_result scan(bool stop) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.stop = stop ? 1 : 0;
  arena_scan_result result{};
  result.size = sizeof(result);
  arena_scan_ex(&options, &result);
  return result;
}

}  // namespace

// One look decides: what a scan misses for an instant only is told, too.
extern "C" const char* arena_default_options() { return "second_look_ms=0"; }

int main(int, char** argv) {
  const std::string_view what = argv[1];
  constexpr const char* kHurry = "at_exit=0:pause_budget_us=1";
  const char* const options = std::getenv("ARENASCAN_OPTIONS");
  bool gives_up = what == "hurried" || what == "slowed";
  if (gives_up && (options == nullptr || std::strcmp(options, kHurry) != 0)) {
    setenv("ARENASCAN_OPTIONS", kHurry, 1);
    execv("/proc/self/exe", argv);
    std::perror("execv");
    return 1;
  }
  if (what == "denied" && !refuse_userfaultfd()) {
    std::perror("NOT TESTED: a filter of system calls could not be set");
    return 1;
  }
  for (std::size_t i = 0; i < kHeld; ++i) g_held.push_back(new Node(new Node(nullptr)));
  for (auto& slot : g_slots) slot = new Node(new Node(nullptr));
  if (what == "lost") lose_objects();
  scrub_stack();

  std::vector<std::thread> threads;
  const bool is_pair = what == "pair" || what == "slowed" || what == "held_pair";
  if (is_pair) {
    threads.emplace_back(shuffle_young);
  } else {
    threads.emplace_back(exchange_between_slots, 1);
    threads.emplace_back(exchange_between_slots, 2);
    threads.emplace_back(replace_young);
    threads.emplace_back(splice_lists);
    threads.emplace_back(grow_vectors);
    threads.emplace_back(grow_arrays);
  }
  if (what == "closed") threads.emplace_back(close_unknown_files);

  const char* const wanted_scans = std::getenv("ARENA_TEST_SCANS");
  const unsigned long usual_scans = what == "slowed"    ? 400
                                    : is_pair           ? 200
                                    : what == "hurried" ? 30
                                    : what == "held"    ? 20
                                                        : 40;
  const unsigned long scans = wanted_scans != nullptr ? std::strtoul(wanted_scans, nullptr, 10) : usual_scans;
  std::optional<arenascan::test::NowAndThenHolder> holder;
  if (what == "held" || what == "held_pair") {
    holder.emplace(static_cast<pid_t>(syscall(SYS_gettid)));
    gives_up = holder->holds();
    if (!gives_up) std::fputs("NOT TESTED: takes a process that may trace its parent\n", stderr);
  }
  const std::size_t expected = what == "lost" ? kLost : 0;
  unsigned long wrong = 0;
  unsigned long concurrent = 0;
  unsigned long incomplete = 0;
  unsigned long given_up = 0;  // pauses, but for the two that each scan needs
  const char* way = "";
  for (unsigned long i = 0; i < scans; ++i) {
    const arena_scan_result result = scan(what == "stopped");
    const bool is_whole = result.incomplete == ARENA_COMPLETE;
    incomplete += is_whole ? 0 : 1;
    concurrent += static_cast<unsigned long>(result.concurrent);
    way = result.way;
    given_up += result.pauses > 2 ? result.pauses - 2 : 0;
    if (result.leaked.objects == (is_whole ? expected : 0)) continue;
    ++wrong;
    std::fprintf(stderr, "scan %lu: %llu objects reported, not %zu\n", i,
                 static_cast<unsigned long long>(result.leaked.objects), expected);
  }
  holder.reset();
  g_done = true;
  for (std::thread& thread : threads) thread.join();
  std::fprintf(stderr, "%lu scans (%lu concurrent, %lu incomplete; the last: %s), %llu moves, %lu wrong\n", scans,
               concurrent, incomplete, way, static_cast<unsigned long long>(g_moves.load()), wrong);
  const bool can_watch = std::strstr(way, "does not let writes be watched") == nullptr;
  if (what == "denied") return wrong == 0 && concurrent == 0 && !can_watch && incomplete == 0 ? 0 : 1;
  if (what == "stopped") return wrong == 0 && concurrent == 0 && incomplete == 0 ? 0 : 1;
  if (what == "closed") return wrong == 0 ? 0 : 1;
  if (!can_watch) std::fprintf(stderr, "NOT TESTED: %s\n", way);
  // Most scans give one up; on a machine that is busy otherwise, fewer do.
  if (gives_up && can_watch && given_up < scans / 10) {
    std::fprintf(stderr, "only %lu pauses were given up\n", given_up);
    return 1;
  }
  return wrong == 0 && incomplete == 0 && (concurrent == scans || !can_watch) ? 0 : 1;
}
