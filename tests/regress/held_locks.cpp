// Scans and reports while other threads hold locks of the C library: of the loader, which is running a constructor that
// waits for the scan, and of streams.
#include <arenascan/arena.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <semaphore>
#include <thread>

#include "tests/check.h"

namespace {

constexpr unsigned kSeconds = 30;

arena_scan_result scan() {
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(nullptr, &result) == 0);
  CHECK(result.incomplete == ARENA_COMPLETE);
  return result;
}

void test_loader() {
  void* const library = dlopen(ARENA_TEST_LIB_DIR "/libscanning_constructor.so", RTLD_NOW);
  CHECK(library != nullptr);
  if (library == nullptr) return;
  CHECK(*static_cast<std::size_t*>(dlsym(library, "g_scans_of_constructor")) == 1);
  CHECK(dlclose(library) == 0);
}

void test_streams() {
  std::binary_semaphore held(0);
  std::binary_semaphore done(0);
  std::thread holder([&] {
    flockfile(stdout);
    flockfile(stderr);
    held.release();
    done.acquire();
    funlockfile(stderr);
    funlockfile(stdout);
  });
  held.acquire();
  scan();
  const int nowhere = open("/dev/null", O_WRONLY);
  const int written = arena_report(nowhere, "text");
  close(nowhere);
  done.release();
  holder.join();
  CHECK(written == 0);
}

}  // namespace

int main() {
  alarm(kSeconds);
  test_loader();
  test_streams();
  return arenascan::test::finish();
}
