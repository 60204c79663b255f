// The options of guard.h together: right pairs of functions pass, freed memory is wiped and not used again soon, and
// what waits in quarantine is free for the scan.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <arenascan/arena.hpp>

#include "tests/check.h"

extern "C" const char* arena_default_options() { return "check_mismatch=1:zero_on_free=1:quarantine_mib=2"; }

namespace {

struct alignas(64) Wide {
  char bytes[64] = {};
};

void allocate_every_way() {
  delete new int(1);
  delete[] new int[10];
  delete new Wide;
  delete[] new Wide[3];
  ::operator delete(::operator new(10, std::nothrow), std::nothrow);
  ::operator delete[](::operator new[](10, std::nothrow), std::nothrow);
  std::free(std::realloc(std::malloc(10), 2000));
  std::free(std::calloc(10, 10));
  std::free(std::aligned_alloc(64, 640));
  std::vector<std::string> words(1000, "a word that is longer than short");
  std::thread([moved = std::move(words)]() mutable { moved.clear(); }).join();
}

}  // namespace

int main() {
  const arena::leak_scope scope;
  for (int i = 0; i < 100; ++i) allocate_every_way();
  std::thread(allocate_every_way).join();
  CHECK(scope.leaks() == 0);

  auto* const freed = static_cast<unsigned char*>(std::malloc(1000));
  std::memset(freed, 7, 1000);
  const volatile auto address = reinterpret_cast<std::uintptr_t>(freed);
  std::free(freed);
  const auto* const seen = reinterpret_cast<const unsigned char*>(address);
  CHECK(std::count(seen, seen + 1000, 7) == 0);
  std::vector<void*> others;
  for (int i = 0; i < 500; ++i) others.push_back(std::malloc(1000));
  CHECK(std::find(others.begin(), others.end(), reinterpret_cast<void*>(address)) == others.end());
  for (void* const other : others) std::free(other);

  // Everything has left quarantine: wiped, and used again.
  for (int i = 0; i < 100; ++i) {
    void* volatile other = std::malloc(100'000);
    std::free(other);
  }
  bool used_again = false;
  others.clear();
  while (!used_again && others.size() < 20'000) {
    others.push_back(std::malloc(1000));
    const auto* const bytes = static_cast<const char*>(others.back());
    CHECK(std::count(bytes, bytes + 1000, 0) == 1000);
    used_again = reinterpret_cast<std::uintptr_t>(others.back()) == address;
  }
  CHECK(used_again);
  for (void* const other : others) std::free(other);
  CHECK(scope.leaks() == 0);
  return arenascan::test::finish();
}
