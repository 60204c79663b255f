// operator new and delete as the standard wants them: every form, alignment, new handlers, exceptions.
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <new>

#include "tests/check.h"

// clang declares the sized forms only when asked to use them.
void operator delete(void*, std::size_t) noexcept;
void operator delete[](void*, std::size_t) noexcept;
void operator delete(void*, std::size_t, std::align_val_t) noexcept;
void operator delete[](void*, std::size_t, std::align_val_t) noexcept;

namespace {

volatile std::size_t g_huge = std::size_t{1} << 46;
void* volatile g_block;  // keeps the compiler from leaving an allocation out
int g_handler_calls = 0;

void give_up_the_third_time() {
  if (++g_handler_calls == 3) std::set_new_handler(nullptr);
}

void throw_from_handler() { throw 42; }

template <typename Call>
bool throws_bad_alloc(Call&& call) {
  try {
    call();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

struct alignas(256) Wide {
  char bytes[300];
};

void test_forms() {
  constexpr std::align_val_t kAlignment{128};
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{500}, std::size_t{70000}, std::size_t{1000000}}) {
    void* const plain[] = {::operator new(bytes), ::operator new[](bytes), ::operator new(bytes, std::nothrow),
                           ::operator new[](bytes, std::nothrow)};
    for (const void* p : plain) CHECK(p != nullptr && reinterpret_cast<std::uintptr_t>(p) % 16 == 0);
    ::operator delete(plain[0]);
    ::operator delete[](plain[1]);
    ::operator delete(plain[2], std::nothrow);
    ::operator delete[](plain[3], std::nothrow);
    void* const aligned[] = {::operator new(bytes, kAlignment), ::operator new[](bytes, kAlignment),
                             ::operator new(bytes, kAlignment, std::nothrow),
                             ::operator new[](bytes, kAlignment, std::nothrow)};
    for (const void* p : aligned) CHECK(p != nullptr && reinterpret_cast<std::uintptr_t>(p) % 128 == 0);
    ::operator delete(aligned[0], kAlignment);
    ::operator delete[](aligned[1], kAlignment);
    ::operator delete(aligned[2], kAlignment, std::nothrow);
    ::operator delete[](aligned[3], kAlignment, std::nothrow);
    ::operator delete(::operator new(bytes), bytes);
    ::operator delete[](::operator new[](bytes), bytes);
    ::operator delete(::operator new(bytes, kAlignment), bytes, kAlignment);
    ::operator delete[](::operator new[](bytes, kAlignment), bytes, kAlignment);
  }
  Wide* const wide = new Wide[3];
  CHECK(reinterpret_cast<std::uintptr_t>(wide) % 256 == 0);
  delete[] wide;
  ::operator delete(nullptr);
  ::operator delete[](nullptr);
}

void test_out_of_memory() {
  CHECK(throws_bad_alloc([] { g_block = ::operator new(g_huge); }));
  CHECK(throws_bad_alloc([] { g_block = ::operator new[](g_huge); }));
  CHECK(throws_bad_alloc([] { g_block = ::operator new (g_huge, std::align_val_t{64}); }));
  CHECK(throws_bad_alloc([] { g_block = new char[g_huge]; }));
  CHECK(::operator new(g_huge, std::nothrow) == nullptr);
  CHECK(::operator new[](g_huge, std::nothrow) == nullptr);
  CHECK(::operator new (g_huge, std::align_val_t{64}, std::nothrow) == nullptr);

  std::set_new_handler(give_up_the_third_time);
  CHECK(throws_bad_alloc([] { g_block = ::operator new(g_huge); }));
  CHECK(g_handler_calls == 3);
  std::set_new_handler(give_up_the_third_time);
  g_handler_calls = 0;
  CHECK(::operator new(g_huge, std::nothrow) == nullptr&& g_handler_calls == 3);

  std::set_new_handler(throw_from_handler);
  int caught = 0;
  try {
    g_block = ::operator new(g_huge);
  } catch (const int value) {
    caught = value;
  }
  CHECK(caught == 42);
  CHECK(::operator new(g_huge, std::nothrow) == nullptr);
  std::set_new_handler(nullptr);
}

}  // namespace

int main() {
  test_forms();
  test_out_of_memory();
  return arenascan::test::finish();
}
