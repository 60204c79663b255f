// Scans that follow each other closely do not read again what has not changed in large tables, and are as exact as any:
// the only pointer to an object wanders through a table, by all kinds of writes, and in a child.
#include <arenascan/arena.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "tests/check.h"

// args: alone beside

namespace {

constexpr std::size_t kWords = std::size_t{1} << 20;  // 8 MiB

std::uintptr_t* g_table;
std::size_t g_place = 0;  // where the only pointer lies
int g_channel[2];
std::mt19937_64 g_random(5);

std::size_t leaked() {
  arena_scan_result result{};
  result.size = sizeof(result);
  arena_scan_ex(nullptr, &result);
  CHECK(result.incomplete == ARENA_COMPLETE);
  return result.leaked.objects;
}

// Moves the pointer elsewhere, so that it is never in two places, and in no register afterwards.
[[gnu::noinline]] void move_pointer() {
  const std::size_t to = g_random() % kWords;
  if (to == g_place) return;
  switch (g_random() % 4) {
    case 0: std::memcpy(&g_table[to], &g_table[g_place], sizeof(g_table[0])); break;
    case 1:
      __atomic_store_n(&g_table[to], __atomic_load_n(&g_table[g_place], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
      break;
    case 2:  // by the kernel
      CHECK(write(g_channel[1], &g_table[g_place], sizeof(g_table[0])) == sizeof(g_table[0]));
      CHECK(read(g_channel[0], &g_table[to], sizeof(g_table[0])) == sizeof(g_table[0]));
      break;
    case 3: {  // with the table
      g_table[to] = g_table[g_place];
      auto* const other = static_cast<std::uintptr_t*>(std::malloc(kWords * sizeof(std::uintptr_t)));
      std::memcpy(other, g_table, kWords * sizeof(std::uintptr_t));
      std::memset(g_table, 0, kWords * sizeof(std::uintptr_t));
      std::free(g_table);
      g_table = other;
      break;
    }
  }
  g_table[g_place] = 0;
  g_place = to;
}

[[gnu::noinline]] void put_object() { g_table[g_place] = reinterpret_cast<std::uintptr_t>(std::calloc(1, 100)); }
[[gnu::noinline]] void lose_object() { g_table[g_place] = 0; }

[[gnu::noinline]] bool child_agrees(std::size_t known) {
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 4; ++i) {
      move_pointer();
      arena_scrub_stack();
      if (leaked() != known) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(pipe(g_channel) == 0);
  std::thread other;
  if (argc > 1 && std::strcmp(argv[1], "beside") == 0) {
    other = std::thread([] { pause(); });  // what it had is inherited by a child, and no leak there
  }
  g_table = static_cast<std::uintptr_t*>(std::calloc(kWords, sizeof(std::uintptr_t)));
  std::memset(g_table, 1, kWords * sizeof(std::uintptr_t) / 2);
  std::size_t known = leaked();
  CHECK(known == 0);
  for (int round = 0; round < 400; ++round) {
    put_object();
    for (int scans = static_cast<int>(g_random() % 5); scans >= 0; --scans) {
      if (g_random() % 3 != 0) move_pointer();
      arena_scrub_stack();
      CHECK(leaked() == known);
    }
    if (round % 40 == 0) CHECK(child_agrees(other.joinable() ? 0 : known));
    lose_object();
    arena_scrub_stack();
    CHECK(leaked() == ++known);
  }
  const int result = arenascan::test::finish();
  std::fflush(nullptr);
  _exit(result);  // the other thread waits for ever
}
