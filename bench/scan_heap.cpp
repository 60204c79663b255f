// scan_heap [SHAPE] [OBJECTS] [LOST]: milliseconds of a whole leak check of a heap (heap_shapes.h), the median of
// seven, by the collector that it was compiled for. LOST more objects, all over the heap, are forgotten. --threads=N:
// as many threads sleep. --roots=MIB: so much private memory lies outside of the heap. --phases: how long each part of
// it took. --smoke: 1,000 objects.
#include <sys/mman.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <thread>

#include "clock.h"
#include "heap_shapes.h"

namespace {

constexpr std::size_t kRounds = 7;

// Private memory outside of the heap, full of noise.
bool map_roots(std::size_t mib) {
  if (mib == 0) return true;
  const std::size_t bytes = mib << 20;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  bench::Random random(9);
  for (std::size_t i = 0; i < bytes / sizeof(std::uint64_t); ++i)
    static_cast<std::uint64_t*>(memory)[i] = random.next();
  return true;
}

void print_phases() {
#if defined(BENCH_COLLECTOR_ARENASCAN)
  const arena::report& r = bench::last;
  const auto ms = [](std::uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  std::printf(
      "  %llu objects, %llu MB: prepare %.3f, mark %.3f (%u markers), white %.3f, classify %.3f; pause %.3f; %llu "
      "leaked",
      static_cast<unsigned long long>(r.seen.objects), static_cast<unsigned long long>(r.seen.bytes >> 20),
      ms(r.prepare_ns), ms(r.mark_ns), r.markers, ms(r.white_ns), ms(r.classify_ns), ms(r.longest_pause_ns),
      static_cast<unsigned long long>(r.leaked.objects));
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const char* shape = "hash";
  std::size_t numbers[2] = {2'600'000, 0};
  std::size_t number_count = 0;
  bool phases = false;
  std::size_t threads = 0;
  std::size_t root_mib = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) {
      numbers[0] = 1'000;
    } else if (std::strcmp(argv[i], "--phases") == 0) {
      phases = true;
    } else if (std::strncmp(argv[i], "--threads=", 10) == 0) {
      threads = std::strtoul(argv[i] + 10, nullptr, 10);
    } else if (std::strncmp(argv[i], "--roots=", 8) == 0) {
      root_mib = std::strtoul(argv[i] + 8, nullptr, 10);
    } else if (argv[i][0] >= '0' && argv[i][0] <= '9' && number_count < 2) {
      numbers[number_count++] = std::strtoul(argv[i], nullptr, 10);
    } else {
      shape = argv[i];
    }
  }
  bench::set_up();
  if (numbers[1] != 0) bench::g_one_lost_in = std::max<std::size_t>(1, numbers[0] / numbers[1]);
  if (!bench::build_shape(shape, numbers[0])) {
    std::fprintf(stderr, "%s: %s is none of hash tree vectors lists tiny buffers large\n", argv[0], shape);
    return 2;
  }
  if (!map_roots(root_mib)) {
    std::perror("bench_scan_heap: mmap");
    return 1;
  }
  for (std::size_t i = 0; i < threads; ++i) {
    std::thread([] { std::this_thread::sleep_for(std::chrono::hours(1)); }).detach();
  }
  std::array<double, kRounds> times{};
  bench::check();  // the first one sets up
  for (double& time : times) {
    const double began = bench::now_ms();
    bench::check();
    time = bench::now_ms() - began;
  }
  std::sort(times.begin(), times.end());
  std::printf("%.4f", times[kRounds / 2]);
  if (phases) print_phases();
  std::printf("\n");
  std::fflush(stdout);
  std::_Exit(0);
}
