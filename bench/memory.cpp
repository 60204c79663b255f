// memory [OBJECTS]: what the mark of a hash table of OBJECTS (heap_shapes.h) takes of memory alone, in nanoseconds an
// object: reading, writing. The median of seven. How a leak check's time for an object grows with the heap
// (`bench_scan_heap hash OBJECTS`) is to be held against it.
//
// No heap, no pointers: as many bytes are read as those objects have, in blocks of 64 KiB that follow each other in no
// order, each from its beginning to its end, the next line asked for ahead; and in an array that takes as much room as
// the objects' states and marks, two bytes an object, anywhere in it, are read and written in batches, asked for
// before. --smoke: 1,000 objects.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "clock.h"
#include "program.h"

namespace {

constexpr std::size_t kRounds = 7;
constexpr std::size_t kBlock = std::size_t{64} << 10;
constexpr std::size_t kLine = 64;
constexpr std::size_t kObjectBytes = 140;  // 24 to 256, by chance
constexpr std::size_t kStateBytes = 10;    // what is known of an object, and lies apart from it
constexpr std::size_t kPointers = 2;       // to each, on average
constexpr std::size_t kBatch = 64;
constexpr std::size_t kAhead = 8 * kLine;

// Touched, so that each page is one of its own.
char* map(std::size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("bench_memory: mmap");
    std::exit(1);
  }
  madvise(memory, bytes, MADV_NOHUGEPAGE);  // as in a heap that has grown
  std::memset(memory, 1, bytes);
  return static_cast<char*>(memory);
}

std::uint64_t read_block(const char* block, const char* next) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < kBlock; at += kLine) {
    const std::size_t ahead = at + kAhead;
    __builtin_prefetch(ahead < kBlock ? block + ahead : next + (ahead - kBlock));
    const auto* const words = reinterpret_cast<const std::uint64_t*>(block + at);
    for (std::size_t i = 0; i < kLine / sizeof(*words); ++i) sum += words[i];
  }
  return sum;
}

void write_batch(char* states, std::size_t bytes, bench::Random& random) {
  std::array<std::size_t, kBatch> places;
  for (std::size_t& place : places) {
    place = random.below(bytes);
    __builtin_prefetch(states + place, 1);
  }
  for (const std::size_t place : places) ++states[place];
}

template <typename Body>
double median_ns(Body&& body) {
  std::array<double, kRounds> times{};
  for (double& time : times) {
    const std::uint64_t began = bench::now_ns();
    body();
    time = static_cast<double>(bench::now_ns() - began);
  }
  std::sort(times.begin(), times.end());
  return times[kRounds / 2];
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t objects = 2'600'000;
  for (int i = 1; i < argc; ++i)
    objects = std::strcmp(argv[i], "--smoke") == 0 ? 1'000 : std::strtoul(argv[i], nullptr, 10);
  const std::size_t blocks = objects * kObjectBytes / kBlock + 1;
  char* const memory = map(blocks * kBlock);
  char* const states = map(objects * kStateBytes + 1);
  auto* const order = reinterpret_cast<std::uint32_t*>(map(blocks * sizeof(std::uint32_t)));
  bench::Random random(4);
  for (std::size_t i = 0; i < blocks; ++i) order[i] = static_cast<std::uint32_t>(i);
  for (std::size_t i = blocks - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);

  const double reading = median_ns([&] {
    for (std::size_t i = 0; i < blocks; ++i) {
      std::uint64_t sum = read_block(memory + order[i] * kBlock, memory + order[(i + 1) % blocks] * kBlock);
      asm volatile("" : "+r"(sum));
    }
  });
  const double writing = median_ns([&] {
    for (std::size_t i = 0; i < objects * kPointers; i += kBatch) write_batch(states, objects * kStateBytes, random);
  });
  const auto each = [objects](double ns) { return ns / static_cast<double>(objects); };
  std::printf("%.2f: reading %.2f, writing %.2f\n", each(reading + writing), each(reading), each(writing));
}
