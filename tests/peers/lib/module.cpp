// What kmemleak's test module does when it is loaded, and when it is unloaded.
#include <cstdlib>

namespace {

struct Link {
  Link* next;
  Link* previous;
};
struct Element {
  long header[25];
  Link link;
  long footer[25];
};

Link g_list{&g_list, &g_list};
thread_local void* volatile t_of_thread = nullptr;

void append(Link& link) {
  link = {&g_list, g_list.previous};
  g_list.previous->next = &link;
  g_list.previous = &link;
}

void forget(std::size_t bytes, int times) {
  for (int i = 0; i < times; ++i) {
    void* p = std::malloc(bytes);
    asm volatile("" : "+r"(p) : : "memory");
  }
}

}  // namespace

// 13 objects that nobody has, ten in a list of the module's, one in its thread-local data.
extern "C" [[gnu::noinline]] void load_module() {
  for (std::size_t i = 0; i < 8; ++i) forget(32U << 2 * (i / 2), 1);
  forget(64, 5);
  for (int i = 0; i < 10; ++i) append(static_cast<Element*>(std::calloc(1, sizeof(Element)))->link);
  t_of_thread = std::malloc(129);
}

// The elements are taken out of the list, and given back to nobody.
extern "C" [[gnu::noinline]] void unload_module() {
  for (Link* link = g_list.next; link != &g_list;) {
    Link* const next = link->next;
    *link = {nullptr, nullptr};
    link = next;
  }
  g_list = {&g_list, &g_list};
}
