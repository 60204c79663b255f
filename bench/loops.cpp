// loops [OBJECTS] [WHITE]: what a leak detector does with each of its objects besides marking, in three ways, in one
// run.
//
//     loop 1   all objects become white
//     loop 2   white ones are found and their contents hashed
//     loop 3   ... and told
//
//     list, lock each     the objects' records in one global list, each locked to look at its colour: kmemleak until
//     2022 list, colour first  the colour is read without the lock; only white ones are locked: kmemleak since arena
//     pages         this library: arena_scan() says how long its phases took
//
// The list's neighbours lie next to each other in memory, as in a program that has just begun, or anywhere, as in one
// that has allocated and freed for a while. The lists live in a process of their own: their memory is not this scan's.
//
// kmemleak's figures for 2.6 million objects: 1.7 s, 2.39 s and 2.17 s; then 1.7 s, 0.27 s and 0.26 s (Waiman Long,
// "mm/kmemleak: Avoid soft lockup in kmemleak_scan()", linux-mm, June 2022). A record here is as small as such a list
// allows, a quarter of kmemleak's, and its lock is never contended. Milliseconds, medians of seven. --smoke: 1,000
// objects.
#define XXH_INLINE_ALL
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <vector>

#include "clock.h"
#include "heap_shapes.h"

namespace {

constexpr std::size_t kRounds = 7;

struct Record {
  Record* next = nullptr;
  std::atomic_flag lock = ATOMIC_FLAG_INIT;
  std::atomic<std::uint32_t> count{0};  // references found; less than one: white
  const void* object = nullptr;
  std::size_t bytes = 0;
  std::uint64_t checksum = 0;
  bool changed = false;
  bool reported = false;
};

struct Locked {
  explicit Locked(Record& record) : record_(record) {
    while (record_.lock.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~Locked() { record_.lock.clear(std::memory_order_release); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  Record& record_;
};

class List {
 public:
  List(std::size_t objects, std::size_t white) : count_(objects), white_(white), records_(objects) {
    bench::Random random(1);
    for (Record*& record : records_) {
      record = new Record;
      record->bytes = bench::random_size(random);
      void* const object = bench::allocate(record->bytes);
      std::memset(object, 0, record->bytes);
      record->object = object;
    }
    link();
  }

  // Neighbours lie anywhere from here on.
  void scatter() {
    bench::Random random(2);
    for (std::size_t i = records_.size() - 1; i > 0; --i) std::swap(records_[i], records_[random.below(i + 1)]);
    link();
  }

  // Stands for the mark.
  void reach_all_but_white() {
    std::size_t i = 0;
    for (Record* r = first_; r != nullptr; r = r->next) r->count = ++i % (count_ / white_) != 0 ? 1 : 0;
  }

  void whiten() {
    for (Record* r = first_; r != nullptr; r = r->next) {
      const Locked locked(*r);
      r->count.store(0, std::memory_order_relaxed);
    }
  }

  template <bool kColourFirst>
  void hash_white() {
    for_each_white<kColourFirst>([](Record& r) {
      const std::uint64_t now = XXH3_64bits(r.object, r.bytes);
      r.changed = now != r.checksum;
      r.checksum = now;
    });
  }

  template <bool kColourFirst>
  std::size_t tell_white() {
    std::size_t told = 0;
    for_each_white<kColourFirst>([&](Record& r) {
      r.reported = true;
      ++told;
    });
    return told;
  }

 private:
  template <bool kColourFirst, typename Visit>
  void for_each_white(Visit&& visit) {
    for (Record* r = first_; r != nullptr; r = r->next) {
      if (kColourFirst && r->count.load(std::memory_order_relaxed) >= 1) continue;
      const Locked locked(*r);
      if (r->count.load(std::memory_order_relaxed) < 1) visit(*r);
    }
  }

  void link() {
    Record** end = &first_;
    for (Record* record : records_) {
      *end = record;
      end = &record->next;
    }
    *end = nullptr;
  }

  Record* first_ = nullptr;
  std::size_t count_;
  std::size_t white_;
  std::vector<Record*> records_;
};

struct Loops {
  std::array<double, 3> ms{};
};

double median(std::array<double, kRounds> values) {
  std::sort(values.begin(), values.end());
  return values[kRounds / 2];
}

template <typename Round>
Loops medians(Round&& round) {
  std::array<std::array<double, kRounds>, 3> all{};
  for (std::size_t i = 0; i < kRounds; ++i) {
    const Loops loops = round();
    for (std::size_t loop = 0; loop < 3; ++loop) all[loop][i] = loops.ms[loop];
  }
  return {{median(all[0]), median(all[1]), median(all[2])}};
}

double timed(auto&& work) {
  const double began = bench::now_ms();
  work();
  return bench::now_ms() - began;
}

template <bool kColourFirst>
Loops walk_list(List& list) {
  return medians([&] {
    Loops loops;
    loops.ms[0] = timed([&] { list.whiten(); });
    list.reach_all_but_white();
    loops.ms[1] = timed([&] { list.hash_white<kColourFirst>(); });
    loops.ms[2] = timed([&] { list.tell_white<kColourFirst>(); });
    return loops;
  });
}

struct ListLoops {
  Loops near_locked, near_first, far_locked, far_first;
};

// In a child process.
bool walk_lists(std::size_t objects, std::size_t white, ListLoops& loops) {
  int ends[2] = {};
  if (pipe(ends) != 0) return false;
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    static List list(objects, white);
    loops.near_locked = walk_list<false>(list);
    loops.near_first = walk_list<true>(list);
    list.scatter();
    loops.far_locked = walk_list<false>(list);
    loops.far_first = walk_list<true>(list);
    _exit(write(ends[1], &loops, sizeof(loops)) == sizeof(loops) ? 0 : 1);
  }
  close(ends[1]);
  const bool told = read(ends[0], &loops, sizeof(loops)) == sizeof(loops);
  close(ends[0]);
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0 && told;
}

void print_row(const char* what, const Loops& loops, double base) {
  const double both = loops.ms[1] + loops.ms[2];
  std::printf("%-20s %10.3f %10.3f %10.3f %10.3f %8.0fx\n", what, loops.ms[0], loops.ms[1], loops.ms[2], both,
              both / base);
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t numbers[2] = {2'600'000, 1'000};
  std::size_t number_count = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) {
      numbers[0] = 1'000;
      numbers[1] = 10;
    } else if (number_count < 2) {
      numbers[number_count++] = std::strtoul(argv[i], nullptr, 10);
    }
  }
  const auto [objects, white] = numbers;
  if (white == 0 || white > objects) {
    std::fprintf(stderr, "%s: %zu of %zu objects cannot be white; 1 to %zu can\n", argv[0], white, objects, objects);
    return 2;
  }
  ListLoops lists;
  if (!walk_lists(objects, white, lists)) {
    std::fprintf(stderr, "%s: the process with the lists failed\n", argv[0]);
    return 1;
  }
  bench::g_one_lost_in = objects / white;
  bench::build_shape("hash", objects);
  bench::check();  // white ones are looked at twice when they are new
  const Loops arena = medians([] {
    bench::check();
    const auto ms = [](std::uint64_t ns) { return static_cast<double>(ns) / 1e6; };
    return Loops{{0, ms(bench::last.white_ns), ms(bench::last.classify_ns)}};
  });
  std::printf("%-20s %10s %10s %10s %10s %9s\n", "milliseconds", "loop 1", "loop 2", "loop 3", "2 and 3", "times");
  const double base = arena.ms[1] + arena.ms[2];
  print_row("list, lock each", lists.near_locked, base);
  print_row("list, colour first", lists.near_first, base);
  print_row("scattered, lock each", lists.far_locked, base);
  print_row("scattered, colour", lists.far_first, base);
  print_row("arena pages", arena, base);
  std::printf(
      "%zu objects, %zu of them white. Arena pages: loop 1 is one increment; finding is counted as loop 2, hashing as "
      "3.\n",
      objects, white);
  std::fflush(stdout);
  std::_Exit(bench::last.leaked.objects + 8 >= white ? 0 : 1);
}
