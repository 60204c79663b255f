// Scans: of a program that stands still, beside one that runs, of threads that hear no signal.
#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/faults/story.h"

namespace arenascan::test {
namespace {

struct Node {
  Node* next;
  Node* young;
  std::uint64_t rest[14];
};

Node* get_node(Node* next) {
  auto* const node = static_cast<Node*>(std::malloc(sizeof(Node)));
  if (node != nullptr) *node = Node{next, nullptr, {}};
  return node;
}

Node* g_first = nullptr;
std::atomic<bool> g_done{false};

void keep_list(int count) {
  for (int i = 0; i < count; ++i) {
    if (Node* const node = get_node(g_first)) g_first = node;
  }
}

// Old objects hold young ones, each for some moments.
void* replace_young(void*) {
  while (!g_done) {
    for (Node* node = g_first; node != nullptr && !g_done; node = node->next) {
      Node* const old = node->young;
      node->young = get_node(nullptr);
      std::free(old);
    }
  }
  return nullptr;
}

}  // namespace

void tell_stopped_story() {
  keep_list(200);
  lose(6, 50);
  scan_and_check(Beside::kNo);
  {
    const Holders holders(3, Holders::Ears::kOpen);
    scan_and_check(Beside::kNo);
    lose(4, 300'000);
    scan_and_check(Beside::kYes);  // too small a heap for that
    scan_and_check(Beside::kNo);
  }
  scan_and_check(Beside::kNo);
}

void tell_beside_story() {
  keep_list(20'000);
  lose(100, 80);
  const Holders holders(2, Holders::Ears::kOpen);
  pthread_t writer;
  const bool has_writer = pthread_create(&writer, nullptr, replace_young, nullptr) == 0;
  for (int i = 0; i < 2; ++i) {
    scan_and_check(Beside::kYes);
    lose(10, 1200);  // of no size that the writer frees
  }
  g_done = true;
  if (has_writer) pthread_join(writer, nullptr);
  scan_and_check(Beside::kYes);
}

void tell_deaf_story() {
  keep_list(100);
  lose(6, 50);
  const Holders open(1, Holders::Ears::kOpen);
  const Holders deaf(2, Holders::Ears::kDeaf);
  for (int i = 0; i < 3; ++i) scan_and_check(Beside::kNo);
}

// The scan at exit is the library's, which leaves with status 23 when it finds what was lost.
void tell_ending_story() {
  keep_list(100);
  lose(5, 70);
  std::fprintf(stderr, "lost: %llu byte(s) leaked in %llu allocation(s).\n",
               static_cast<unsigned long long>(lost().bytes), static_cast<unsigned long long>(lost().objects));
}

}  // namespace arenascan::test
