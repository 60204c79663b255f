// A daemon that gives up its user: /proc/self/pagemap and mem are closed to it then. A scan is as complete as before;
// only where a closed page holds something it says that it could not be read.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kBytes = std::size_t{1} << 20;

void** volatile g_place = nullptr;

// For somebody who is not root, what a change of the user does to a process.
bool give_up_user() {
  constexpr uid_t kNobody = 65534;
  return geteuid() == 0 ? setresuid(kNobody, kNobody, kNobody) == 0 : prctl(PR_SET_DUMPABLE, 0) == 0;
}

[[gnu::noinline]] void lose_one_and_hold_one() {
  static_cast<void>(allocate_hidden());
  *g_place = reveal(allocate_hidden());
}

}  // namespace

int main() {
  CHECK(give_up_user());
  CHECK(prctl(PR_GET_DUMPABLE) != 1);
  void* const reserved = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* const mapping = static_cast<char*>(map_apart(kBytes));
  g_place = reinterpret_cast<void**>(mapping + kBytes / 2);
  const std::uint32_t mark = arena_mark();
  lose_one_and_hold_one();
  scrub_stack();

  CHECK(leaked_since(mark) == 1);
  mprotect(mapping, kBytes, PROT_NONE);
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(nullptr, &result) == 0);
  CHECK(result.incomplete == ARENA_INCOMPLETE_CLOSED_MEMORY);
  CHECK(result.leaked.objects == 0);
  mprotect(mapping, kBytes, PROT_READ | PROT_WRITE);
  CHECK(leaked_since(mark) == 1);
  munmap(reserved, kBytes);
  return finish();
}
