// micro: what single calls cost when all is warm, by size. Google Benchmark; --smoke runs each for a moment. It knows
// nothing of this library: the allocator is preloaded.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr int kKeep = 64;  // as many live objects a benchmark goes round in, so that no answer is one cached block

// A pair in a ring of live objects. Large ones are touched in their first bytes only.
template <void* (*allocate)(std::size_t)>
void pair_in_ring(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  void* ring[kKeep] = {};
  unsigned next = 0;
  for (auto _ : state) {
    void*& slot = ring[next++ % kKeep];
    std::free(slot);
    slot = allocate(size);
    *static_cast<volatile char*>(slot) = 1;
    benchmark::DoNotOptimize(slot);
  }
  for (void* object : ring) std::free(object);
}

// One block, allocated and freed at once.
void malloc_free(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    void* const object = std::malloc(size);
    *static_cast<volatile char*>(object) = 1;
    benchmark::DoNotOptimize(object);
    std::free(object);
  }
}

void* zeroed(std::size_t size) { return std::calloc(1, size); }
void* aligned(std::size_t size) { return std::aligned_alloc(64, size); }

void malloc_ring(benchmark::State& state) { pair_in_ring<std::malloc>(state); }
void calloc_ring(benchmark::State& state) { pair_in_ring<zeroed>(state); }
void aligned_ring(benchmark::State& state) { pair_in_ring<aligned>(state); }

// A buffer that grows by half from 16 bytes to the size given, as a string builder's does; the answer is for all of it.
void realloc_growth(benchmark::State& state) {
  const auto most = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    void* buffer = std::malloc(16);
    for (std::size_t size = 16; size < most; size += size / 2) {
      buffer = std::realloc(buffer, size + size / 2);
      *static_cast<volatile char*>(buffer) = 1;
    }
    benchmark::DoNotOptimize(buffer);
    std::free(buffer);
  }
}

BENCHMARK(malloc_free)->Arg(16)->Arg(64)->Arg(256)->Arg(1 << 10)->Arg(8 << 10)->Arg(64 << 10)->Arg(1 << 20);
BENCHMARK(malloc_ring)->Arg(64)->Arg(1 << 10)->Arg(64 << 10);
BENCHMARK(calloc_ring)->Arg(64)->Arg(8 << 10);
BENCHMARK(aligned_ring)->Arg(64)->Arg(1 << 10);
BENCHMARK(realloc_growth)->Arg(4 << 10)->Arg(1 << 20);

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  char moment[] = "--benchmark_min_time=0.001";
  for (char*& argument : arguments) {
    if (std::strcmp(argument, "--smoke") == 0) argument = moment;
  }
  int count = argc;
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
