// A program that brings its own plain operator new and delete gets them for the array, nothrow and sized forms too.
#include <cstdlib>
#include <new>

#include "tests/check.h"

namespace {

int g_news = 0;
int g_deletes = 0;

// Out of the compiler's sight, which takes new with free for a mistake.
void (*volatile free_block)(void*) = std::free;

}  // namespace

void* operator new(std::size_t bytes) {
  ++g_news;
  if (void* const p = std::aligned_alloc(16, bytes)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  ++g_deletes;
  free_block(p);
}
void operator delete(void* p, std::size_t) noexcept {
  ++g_deletes;
  free_block(p);
}

int main() {
  const int news = g_news;
  const int deletes = g_deletes;
  void* const single = ::operator new(10);
  void* const array = ::operator new[](10);
  void* const quiet = ::operator new(10, std::nothrow);
  void* const quiet_array = ::operator new[](10, std::nothrow);
  CHECK(g_news == news + 4);
  ::operator delete(single);
  ::operator delete[](array);
  ::operator delete(quiet, std::nothrow);
  ::operator delete[](quiet_array, std::nothrow);
  CHECK(g_deletes == deletes + 4);
  return arenascan::test::finish();
}
