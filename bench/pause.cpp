// pause [SCANS] [OBJECTS] [SLEEPERS]: what a program that works at full speed sees of scans that follow each other.
//
// One thread (the mutator) allocates objects, links them into a hash table of OBJECTS, and takes others out and frees
// them, at random all over the table, without rest; it notes the longest gap between two of its steps. The main thread
// scans SCANS times. SLEEPERS more threads wait. Printed: the mutator's longest gaps and its steps a second, without
// scans, beside a main thread that only reads memory (what the machine itself takes from two busy threads), and during
// scans; the same gaps without the time in which somebody else had the mutator's processor: a thread that ran there in
// its place, or, where the kernel counts that (/proc/stat), the host of a virtual machine; and what the scans
// themselves say of their pauses. --window: the mutator replaces only objects of 5,000 buckets, some 10,000. --stopped:
// marks with the world stopped. --smoke: small.
//
// --apart: the mutator keeps to one processor, the one where it met the shorter gaps (99 %) while the main thread only
// read memory, and the main thread to the others; the row is printed for each processor. Daemons return to the
// processor that they ran on last, and are moved only where it is busy as they wake and another one idle, or where they
// have to wait. So before every twenty scans (or readings) the mutator runs alone for a moment: who wakes meanwhile
// goes to the other processors. Without this the figures tell where the daemons of that day happened to be.
//
// LeakSanitizer's figures come from the same source (collector.h): its check is one pause.
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <numeric>
#include <thread>
#include <vector>

#include "clock.h"
#include "heap_shapes.h"

namespace {

using Ns = std::uint64_t;

struct Node {
  Node* next;
  Node* cross;
  std::uint64_t key;
};

// A chained table that always holds as many objects. Its addresses live in nothing but its own memory.
class Table {
 public:
  explicit Table(std::size_t objects) : random_(3), bucket_count_(objects / 2 + 1) {
    buckets_ = static_cast<Node**>(bench::allocate(bucket_count_ * sizeof(Node*)));
    std::memset(buckets_, 0, bucket_count_ * sizeof(Node*));
    for (std::size_t i = 0; i < objects; ++i) insert(random_.below(bucket_count_));
  }

  // Takes one object out, wherever one is, and puts another in.
  void step(std::size_t span) {
    std::size_t from = random_.below(span);
    while (buckets_[from] == nullptr) from = from + 1 == span ? 0 : from + 1;
    Node** place = &buckets_[from];
    while ((*place)->next != nullptr && random_.below(2) == 0) place = &(*place)->next;
    Node* const old = *place;
    *place = old->next;
    bench::release(old);
    insert(random_.below(span));
  }

  [[nodiscard]] std::size_t bucket_count() const { return bucket_count_; }

 private:
  void insert(std::size_t bucket) {
    const std::size_t bytes = bench::random_size(random_);
    auto* const node = static_cast<Node*>(bench::allocate(bytes));
    *node = {buckets_[bucket], nullptr, bytes};
    buckets_[bucket] = node;
  }

  bench::Random random_;
  std::size_t bucket_count_;
  Node** buckets_;
};

struct Progress {
  std::atomic<bool> done{false};
  // Written by the mutator; taken by the main thread, which sets them back to 0.
  std::atomic<Ns> longest_gap{0};
  std::atomic<Ns> longest_own_gap{0};  // without what was taken from it
  std::atomic<std::uint64_t> steps{0};
};

// What the calling thread has had of its processor so far, and how often it gave it up itself: to wait, or to stand
// still.
struct Had {
  Ns ns;
  long given_up;
};
Had had_so_far() {
  timespec time{};
  rusage usage{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  getrusage(RUSAGE_THREAD, &usage);
  return {static_cast<Ns>(time.tv_sec) * 1'000'000'000 + static_cast<Ns>(time.tv_nsec), usage.ru_nvcsw};
}

void raise(std::atomic<Ns>& longest, Ns gap) {
  if (gap > longest.load(std::memory_order_relaxed)) longest.store(gap);
}

void mutate(Table& table, std::size_t span, Progress& progress) {
  constexpr std::uint64_t kStepsOfOneLook = 1024;
  constexpr Ns kLong = 200'000;
  Had before = had_so_far();
  Ns last = bench::now_ns();
  for (std::uint64_t steps = 1; !progress.done.load(std::memory_order_relaxed); ++steps) {
    table.step(span);
    const Ns now = bench::now_ns();
    const Ns gap = now - last;
    last = now;
    raise(progress.longest_gap, gap);
    Ns own = gap;
    if (gap > kLong || steps % kStepsOfOneLook == 0) {
      const Had after = had_so_far();
      // All steps since the last look count as this one's: some 0.1 ms too much, never too little.
      if (after.given_up == before.given_up) own = std::min(gap, after.ns - before.ns);
      before = after;
    }
    raise(progress.longest_own_gap, own);
    progress.steps.store(steps, std::memory_order_relaxed);
  }
}

double us(Ns ns) { return static_cast<double>(ns) / 1e3; }

Ns at_percent(std::vector<Ns>& values, std::size_t percent) {
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) * percent / 100];
}

void print_row(const char* what, std::vector<Ns>& values) {
  const auto at = [&](std::size_t percent) { return us(at_percent(values, percent)); };
  std::printf("%-34s %10.0f %10.0f %10.0f\n", what, at(50), at(99), at(100));
}

struct Gaps {
  std::vector<Ns> all, own;  // the longest of each time
};

void print_rows(const char* what, Gaps& gaps) {
  print_row(what, gaps.all);
  print_row("  while it had its processor", gaps.own);
}

std::vector<int> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

// Daemons wake once a second or more often.
constexpr std::chrono::milliseconds kSettling{1'500};
constexpr std::size_t kTimesOnceSettled = 20;

void keep_to(pthread_t thread, const cpu_set_t& processors) {
  if (pthread_setaffinity_np(thread, sizeof(processors), &processors) != 0) std::abort();
}

// The mutator on one processor, the main thread on the others.
void keep_apart(std::thread& mutator, int processor, const std::vector<int>& processors) {
  cpu_set_t mutators, others;
  CPU_ZERO(&mutators);
  CPU_ZERO(&others);
  for (const int i : processors) CPU_SET(i, i == processor ? &mutators : &others);
  keep_to(mutator.native_handle(), mutators);
  keep_to(pthread_self(), others);
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t numbers[3] = {200, 2'600'000, 0};
  std::size_t number_count = 0;
  bool window = false;
  bool apart = false;
  bool smoke = false;
  [[maybe_unused]] bool stopped = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) {
      smoke = true;
      numbers[0] = 5;
      numbers[1] = 50'000;
    } else if (std::strcmp(argv[i], "--window") == 0) {
      window = true;
    } else if (std::strcmp(argv[i], "--apart") == 0) {
      apart = true;
    } else if (std::strcmp(argv[i], "--stopped") == 0) {
      stopped = true;
    } else if (number_count < 3) {
      numbers[number_count++] = std::strtoul(argv[i], nullptr, 10);
    }
  }
  bench::set_up();
  static Table table(numbers[1]);
  const std::size_t span = window ? std::min<std::size_t>(table.bucket_count(), 5'000) : table.bucket_count();
  static Progress progress;
  std::vector<std::thread> threads;
  threads.emplace_back(mutate, std::ref(table), span, std::ref(progress));
  for (std::size_t i = 0; i < numbers[2]; ++i) {
    threads.emplace_back([] {
      while (!progress.done) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    });
  }

  Gaps quiet_gaps, scan_gaps;
  std::vector<Ns> scan_times;
  const std::vector<int> processors = apart ? allowed_processors() : std::vector<int>{-1};
  std::vector<Gaps> busy_gaps(processors.size());
  if (apart && processors.size() < 2) {
    std::fputs("pause: --apart needs two processors\n", stderr);
    return 2;
  }
  [[maybe_unused]] std::vector<Ns> pauses;
  std::size_t concurrent = 0, incomplete = 0, leaked = 0, pause_count = 0;
  // Steps in a microsecond.
  const auto measure = [&](Gaps& gaps, std::chrono::milliseconds settling, auto&& during) {
    std::uint64_t steps = 0;
    Ns ns = 0;
    for (std::size_t i = 0; i < numbers[0]; ++i) {
      if (i % kTimesOnceSettled == 0) std::this_thread::sleep_for(settling);
      progress.longest_gap = 0;
      progress.longest_own_gap = 0;
      const std::uint64_t before = progress.steps;
      const Ns began = bench::now_ns();
      during();
      // A step after the scan: the gap that has just ended is noted then.
      for (const std::uint64_t seen = progress.steps; progress.steps == seen;) std::this_thread::yield();
      steps += progress.steps - before;
      ns += bench::now_ns() - began;
      gaps.all.push_back(progress.longest_gap);
      gaps.own.push_back(progress.longest_own_gap);
    }
    return static_cast<double>(steps) / static_cast<double>(ns) * 1e3;
  };
  constexpr std::chrono::milliseconds kNone{0};  // the main thread does nothing else anyway
  const std::chrono::milliseconds settling = apart && !smoke ? kSettling : kNone;
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < processors.size(); ++i) {
    if (apart) keep_apart(threads[0], processors[i], processors);
    const std::vector<std::uint64_t> words(std::size_t{8} << 20, 1);
    measure(busy_gaps[i], settling, [&] {
      std::uint64_t sum = 0;
      for (const Ns until = bench::now_ns() + 150'000'000; bench::now_ns() < until;) {
        sum = std::accumulate(words.begin(), words.end(), sum);
        asm volatile("" : "+r"(sum));
      }
    });
    if (at_percent(busy_gaps[i].all, 99) < at_percent(busy_gaps[chosen].all, 99)) chosen = i;
  }
  if (apart) keep_apart(threads[0], processors[chosen], processors);
  const double quiet = measure(quiet_gaps, kNone, [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
  bench::check();  // the first one sets up
  const double busy = measure(scan_gaps, settling, [&] {
    const Ns began = bench::now_ns();
#if defined(BENCH_COLLECTOR_ARENASCAN)
    arena_scan_options options{};
    options.size = sizeof(options);
    options.stop = stopped ? 1 : 0;
    arena_scan_result result{};
    result.size = sizeof(result);
    arena_scan_ex(&options, &result);
    pauses.push_back(result.longest_pause_ns);
    concurrent += static_cast<std::size_t>(result.concurrent);
    incomplete += result.incomplete != 0 ? 1 : 0;
    leaked += result.leaked.objects;
    pause_count += result.pauses;
#else
    bench::check();
#endif
    scan_times.push_back(bench::now_ns() - began);
  });
  progress.done = true;
  for (std::thread& thread : threads) thread.join();

  std::printf("%-34s %10s %10s %10s\n", "microseconds", "median", "99 %", "longest");
  print_rows("mutator's longest gap in 20 ms", quiet_gaps);
  for (std::size_t i = 0; i < processors.size(); ++i) {
    if (apart) std::printf("on processor %d%s, ", processors[i], i == chosen ? " (chosen)" : "");
    print_rows("beside a thread that reads memory", busy_gaps[i]);
  }
  print_rows("mutator's longest gap in a scan", scan_gaps);
  if (!pauses.empty()) print_row("longest pause of a scan", pauses);
  print_row("a scan", scan_times);
  std::printf("mutator: %.2f million steps a second without scans, %.2f during scans: %.0f %%\n", quiet, busy,
              100 * busy / quiet);
#if defined(BENCH_COLLECTOR_ARENASCAN)
  std::printf("%zu scans, %zu concurrent, %zu incomplete, %.1f pauses each, %zu objects reported\n", numbers[0],
              concurrent, incomplete, static_cast<double>(pause_count) / static_cast<double>(numbers[0]), leaked);
#endif
  std::fflush(stdout);
  std::_Exit(incomplete == 0 && leaked == 0 ? 0 : 1);
}
