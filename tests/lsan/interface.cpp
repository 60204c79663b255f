// A program that uses every function of <sanitizer/lsan_interface.h>, for compare.sh, which builds it under
// LeakSanitizer and with our library. The argument says what it does.
#include <pthread.h>
#include <sanitizer/lsan_interface.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

struct Node {
  Node* next;
  char payload[24];
};

[[gnu::noinline]] Node* make_node(Node* next) {
  Node* const node = static_cast<Node*>(std::malloc(sizeof(Node)));
  *node = {};
  node->next = next;
  return node;
}
[[gnu::noinline]] char* make_text(std::size_t bytes) { return new char[bytes]; }
[[gnu::noinline]] void** make_table(void* first) {
  void** const table = static_cast<void**>(std::calloc(4, sizeof(void*)));
  table[0] = first;
  return table;
}

// Lost: one table that holds a list of two and a text; and two texts from another line.
[[gnu::noinline]] void lose_all() {
  void** const table = make_table(make_node(make_node(nullptr)));
  table[1] = make_text(100);
  make_text(7);
  for (int i = 0; i < 2; ++i) make_text(9);
}

void* g_kept;
void* g_odd[2];

[[gnu::noinline]] void keep_by_global() { g_kept = make_text(40); }
[[gnu::noinline]] void keep_unaligned() {
  void* const p = make_text(41);
  std::memcpy(reinterpret_cast<char*>(g_odd) + 1, &p, sizeof(p));
}
[[gnu::noinline]] void ignore_one() {
  void** const table = make_table(make_node(nullptr));
  __lsan_ignore_object(table);
}
[[gnu::noinline]] void allocate_disabled() {
  __lsan_disable();
  __lsan_disable();
  make_table(make_text(5));
  __lsan_enable();
  make_text(6);
  __lsan_enable();
  __lsan::ScopedDisabler disabled;
  make_text(8);
}

// In shared memory, which nobody takes for a root by itself.
void** g_region;
[[gnu::noinline]] void register_region() {
  g_region = static_cast<void**>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  g_region[3] = make_text(50);
  __lsan_register_root_region(g_region, 4096);
}

// So that nothing of what was lost is left on the stack.
[[gnu::noinline]] void overwrite_stack() {
  volatile char area[4096];
  for (volatile char& byte : area) byte = 0;
}

// Of <sanitizer/allocator_interface.h>, which GCC does not bring along.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, std::size_t),
                                                         void (*)(const volatile void*));

// What hooks are told of a thread that does nothing; the first one leaves behind what the C library keeps for the next.
int g_allocated;
int g_freed;
void note_allocated(const volatile void*, std::size_t) { ++g_allocated; }
void note_freed(const volatile void*) { ++g_freed; }

void run_idle_thread() {
  pthread_t thread;
  pthread_create(
      &thread, nullptr, [](void* argument) { return argument; }, nullptr);
  pthread_join(thread, nullptr);
}

[[gnu::noinline]] void count_beside_thread() {
  run_idle_thread();
  const int number = __sanitizer_install_malloc_and_free_hooks(note_allocated, note_freed);
  run_idle_thread();
  const int allocated = g_allocated;
  const int freed = g_freed;
  delete[] make_text(3);
  std::fprintf(stderr, "%s: %d and %d for a thread, then %d and %d\n", number > 0 ? "hooks" : "no hooks", allocated,
               freed, g_allocated - allocated, g_freed - freed);
}

#ifdef TURNED_OFF
extern "C" [[gnu::used]] int __lsan_is_turned_off() { return 1; }
#endif
#ifdef DEFAULTS
extern "C" [[gnu::used]] const char* __lsan_default_options() { return "exitcode=31:max_leaks=1"; }
extern "C" [[gnu::used]] const char* __lsan_default_suppressions() { return "leak:make_node\n"; }
#endif

int main(int argc, char** argv) {
  const auto is = [&](const char* how) { return argc > 1 && std::strcmp(argv[1], how) == 0; };
  if (is("unmatched")) __lsan_enable();
  if (is("unregister")) __lsan_unregister_root_region(&g_kept, 8);
  if (is("huge")) {
    void* const p = std::malloc(std::size_t{3} << 20);
    std::printf("malloc of 3 MiB: %s\n", p == nullptr ? "null" : "memory");
    std::free(p);
    std::fflush(stdout);
  }
  keep_by_global();
  if (is("unaligned")) keep_unaligned();
  if (is("ignore")) ignore_one();
  if (is("disable")) allocate_disabled();
  if (is("region") || is("region_gone")) register_region();
  if (is("region_gone")) __lsan_unregister_root_region(g_region, 4096);
  if (is("hooks")) count_beside_thread();
  if (is("clean") || is("hooks")) return 3;
  if (!is("ignore") && !is("disable") && !is("region") && !is("region_gone")) lose_all();
  overwrite_stack();
  if (is("recoverable")) {
    const int first = __lsan_do_recoverable_leak_check();
    const int second = __lsan_do_recoverable_leak_check();
    std::fprintf(stderr, "recoverable: %d %d\n", first, second);
  }
  if (is("check")) {
    std::fputs("before\n", stderr);
    __lsan_do_leak_check();
    std::fputs("after\n", stderr);
    __lsan_do_leak_check();
  }
  return 3;
}
