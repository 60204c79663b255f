// coming_and_going [SCANS]: scan after scan while threads start and end, a library opens and closes, and mappings come
// and go, each holding the only pointer to an object while it is there. Nothing is ever lost, so nothing may be
// reported; every scan is whole; and the process does not grow. Prints what it did.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <arenascan/arena.h>

#include "tests/check.h"

namespace {

constexpr unsigned long kUsualScans = 3'000;
constexpr std::size_t kGrowthBytes = std::size_t{16} << 20;
constexpr std::size_t kHeldBytes = 200;

std::atomic<bool> g_done{false};
std::atomic<std::uint64_t> g_threads{0};
std::atomic<std::uint64_t> g_libraries{0};
std::atomic<std::uint64_t> g_mappings{0};

[[gnu::noinline]] void hold_on_stack() {
  void* volatile held = std::malloc(kHeldBytes);
  std::this_thread::yield();
  std::free(held);
}

void start_threads() {
  for (; !g_done; ++g_threads) {
    std::thread first(hold_on_stack);
    std::thread second(hold_on_stack);
    first.join();
    second.join();
  }
}

void open_libraries() {
  for (; !g_done; ++g_libraries) {
    void* const library = dlopen(ARENA_TEST_LIB_DIR "/libroot_library.so", RTLD_NOW | RTLD_LOCAL);
    CHECK(library != nullptr);
    void** const place = static_cast<void**>(dlsym(library, "g_library_pointer"));
    *place = std::malloc(kHeldBytes);
    std::this_thread::yield();
    std::free(*place);
    *place = nullptr;
    CHECK(dlclose(library) == 0);
  }
}

void map_memory() {
  for (std::uint64_t i = 0; !g_done; ++i, ++g_mappings) {
    const std::size_t bytes = (1 + i % 64) * 4096;
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    void** const place = static_cast<void**>(memory);
    *place = std::malloc(kHeldBytes);
    if (i % 3 == 0) mprotect(memory, bytes, PROT_READ);
    std::this_thread::yield();
    std::free(*place);
    CHECK(munmap(memory, bytes) == 0);
  }
}

std::size_t resident_bytes() {
  unsigned long size = 0;
  unsigned long resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  CHECK(file != nullptr && std::fscanf(file, "%lu %lu", &size, &resident) == 2);
  if (file != nullptr) std::fclose(file);
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

std::size_t open_files() {
  std::size_t count = 0;
  for (int file = 0; file < 1024; ++file) count += dup2(file, file) == file ? 1 : 0;
  return count;
}

}  // namespace

// One look decides: what a scan misses for an instant only is told, too.
extern "C" const char* arena_default_options() { return "second_look_ms=0"; }

int main(int argc, char** argv) {
  const unsigned long scans = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : kUsualScans;
  std::vector<std::thread> workers;
  for (void (*const work)() : {start_threads, open_libraries, map_memory}) workers.emplace_back(work);
  std::size_t resident_early = 0;
  std::size_t files_early = 0;
  unsigned long wrong = 0;
  for (unsigned long i = 0; i < scans; ++i) {
    arena_scan_result result{};
    result.size = sizeof(result);
    CHECK(arena_scan_ex(nullptr, &result) == 0);
    if (result.incomplete != ARENA_COMPLETE || result.leaked.objects != 0) {
      ++wrong;
      std::fprintf(stderr, "scan %lu: %llu objects reported; %s\n", i,
                   static_cast<unsigned long long>(result.leaked.objects), result.incomplete_why);
    }
    if (i == scans / 5) {
      resident_early = resident_bytes();
      files_early = open_files();
    }
  }
  g_done = true;
  for (std::thread& worker : workers) worker.join();
  const std::size_t resident = resident_bytes();
  std::printf(
      "%lu scans, %lu wrong; %llu pairs of threads, %llu libraries, %llu mappings; resident %zu, then %zu KiB\n", scans,
      wrong, static_cast<unsigned long long>(g_threads.load()), static_cast<unsigned long long>(g_libraries.load()),
      static_cast<unsigned long long>(g_mappings.load()), resident_early >> 10, resident >> 10);
  CHECK(wrong == 0);
  CHECK(resident <= resident_early + kGrowthBytes);
  CHECK(open_files() <= files_early + 1);  // the one by which writes are watched, once the heap is worth it
  return arenascan::test::finish();
}
