// arena_retainers tells the way from a root to an object, and arena_dump all about one, before and after it is lost.
#include <arenascan/arena.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

extern "C" const char* arena_default_options() { return "second_look_ms=1"; }

struct Node {
  std::array<char, 24> name;
  Node* next;
};
Node* volatile g_explained_list = nullptr;
thread_local void* volatile t_place = nullptr;

namespace {

// What a call writes; the pointer itself is hidden but for the call.
template <typename Function>
[[gnu::noinline]] std::string text_of(Function&& function, Hidden hidden) {
  const int fd = memfd_create("text", MFD_CLOEXEC);
  errno = 4711;
  CHECK(function(reveal(hidden), fd) == 0);
  CHECK(errno == 4711);
  std::string text(static_cast<std::size_t>(lseek(fd, 0, SEEK_END)), 0);
  CHECK(pread(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  close(fd);
  return text;
}

void check_has(const std::string& text, std::initializer_list<const char*> wanted) {
  std::size_t at = 0;
  for (const char* const word : wanted) {
    const std::size_t next = text.find(word, at);
    if (next == std::string::npos)
      std::fprintf(stderr, "\"%s\" is missing, at its place, in:\n%s\n", word, text.c_str());
    CHECK(next != std::string::npos);
    if (next == std::string::npos) return;
    at = next;
  }
}

[[gnu::noinline]] Node* make_nodes(std::size_t count) {
  auto* nodes = static_cast<Node*>(std::calloc(count, sizeof(Node)));
  asm volatile("" : "+r"(nodes));  // no tail call
  return nodes;
}
[[gnu::noinline]] Node* make_last() {
  Node* node = make_nodes(1);
  asm volatile("" : "+r"(node));
  return node;
}
[[gnu::noinline]] Node* make_first() {
  Node* node = make_nodes(3);
  asm volatile("" : "+r"(node));
  return node;
}

// Two objects: the first one in the global, which points into the second.
[[gnu::noinline]] Hidden make_list() {
  Node* const last = make_last();
  Node* const first = make_first();
  first[1].next = last;
  g_explained_list = first;
  return hide(last);
}

void test_way(Hidden last) {
  const std::string way = text_of(arena_retainers, last);
  check_has(way, {"of 32 byte(s) is reached from", "global data g_explained_list (", "explain", "lies a pointer to",
                  "96 byte(s), allocated from", "make_first", "which holds, 56 byte(s) behind its beginning",
                  "32 byte(s), allocated from", "make_last"});
}

void test_dump(Hidden last) {
  CHECK(arena_scan() == 0);
  check_has(text_of(arena_dump, last), {"of 32 byte(s) in a slot of 32\n", "1 scan(s) and mark(s) ago",
                                        "annotations: none", "last scan: reached", "make_last"});
  check_has(text_of(arena_dump, last - 5), {"5 byte(s) behind its beginning"});
  CHECK(arena_no_scan(reveal(last)) == 0);
  check_has(text_of(arena_dump, last), {"annotations: not scanned"});
}

[[gnu::noinline]] void lose() {
  g_explained_list = nullptr;
  scrub_stack();
}

void test_lost(Hidden last) {
  lose();
  CHECK(arena_scan() == 2);
  check_has(text_of(arena_retainers, last),
            {"is not reached: no root leads to it", "pointed to 56 byte(s) behind the beginning of",
             "96 byte(s), allocated from", "make_first"});
  check_has(text_of(arena_dump, last), {"last scan: a leak; checksum 0x"});
  const Hidden later = allocate_hidden();
  check_has(text_of(arena_dump, later), {"last scan: the object was allocated after it"});
}

void test_roots() {
  const Hidden held = allocate_hidden();
  // The thread that asks holds it.
  [[maybe_unused]] void* volatile own = reveal(held);
  check_has(text_of(arena_retainers, held), {"no root leads to it but the stack or a register of thread",
                                             "which asks (at 0x", "No other object points to it"});
  own = nullptr;

  std::thread([&] {
    [[maybe_unused]] void* volatile other = reveal(held);
    std::string way;
    std::thread([&] { way = text_of(arena_retainers, held); }).join();
    check_has(way, {"the stack of thread", "100 byte(s), allocated from"});
    other = nullptr;
  }).join();

  t_place = reveal(held);
  check_has(text_of(arena_retainers, held), {"thread-local data"});
  t_place = nullptr;

  auto** const mapping = static_cast<void**>(map_apart(4096));
  mapping[3] = reveal(held);
  check_has(text_of(arena_retainers, held), {"a private mapping: at 0x"});
  mapping[3] = nullptr;

  auto** const shared =
      static_cast<void**>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  shared[3] = reveal(held);
  CHECK(arena_add_root(shared, 4096) == 0);
  check_has(text_of(arena_retainers, held), {"a range registered with arena_add_root: at "});
  CHECK(arena_remove_root(shared, 4096) == 0);

  CHECK(arena_not_leak(reveal(held)) == 0);
  check_has(text_of(arena_retainers, held), {"the program's annotation", "100 byte(s), allocated from"});
}

void test_errors() {
  int local = 0;
  for (const auto call : {arena_dump, arena_retainers}) {
    for (const void* const p : {static_cast<const void*>(nullptr), static_cast<const void*>(&local),
                                reinterpret_cast<const void*>(~std::uintptr_t{0})}) {
      errno = 0;
      CHECK(call(p, 2) == -1 && errno == EINVAL);
    }
    void* const object = std::malloc(10);
    errno = 0;
    CHECK(call(object, -1) == -1 && errno == EBADF);
    Hidden freed = hide(object);
    asm volatile("" : "+r"(freed));  // or the compiler says that freed memory is used
    std::free(object);
    errno = 0;
    CHECK(call(reveal(freed), 2) == -1 && errno == EINVAL);
  }
  static int from_callback = 0;
  static int error = 0;
  arena_scan_options options{};
  options.size = sizeof(options);
  options.progress = [](const arena_progress*, void* object) {
    from_callback = arena_retainers(object, 2);
    error = errno;
    return 0;
  };
  options.progress_argument = std::malloc(10);
  CHECK(arena_scan_ex(&options, nullptr) == 0);
  CHECK(from_callback == -1 && error == EBUSY);
  std::free(options.progress_argument);
}

}  // namespace

int main() {
  const Hidden last = make_list();
  scrub_stack();
  test_way(last);
  test_dump(last);
  test_lost(last);
  test_roots();
  test_errors();
  return finish();
}
