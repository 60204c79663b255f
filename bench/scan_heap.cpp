// scan_heap [OBJECTS] [LOST]: a hash table with chains, objects of 24 to 256 bytes, each with one random cross link;
// LOST of them taken out of the table and forgotten. Prints the phases of seven scans' median. --smoke: 1,000 objects.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <arenascan/arena.hpp>

namespace {

struct Node {
  Node* next;
  Node* cross;
  std::uint64_t key;
};

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace

int main(int argc, char** argv) {
  const bool smoke = argc > 1 && std::strcmp(argv[1], "--smoke") == 0;
  const std::size_t count = smoke ? 1'000 : argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 2'600'000;
  const std::size_t lost = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  std::srand(1);
  std::vector<Node*> buckets(count / 2 + 1);
  {
    std::vector<Node*> all;
    for (std::size_t i = 0; i < count; ++i) {
      auto* const node = static_cast<Node*>(std::malloc(24 + static_cast<std::size_t>(std::rand()) % 133));
      Node*& head = buckets[static_cast<std::size_t>(std::rand()) % buckets.size()];
      *node = {head, i == 0 ? nullptr : all[static_cast<std::size_t>(std::rand()) % i], i};
      head = node;
      all.push_back(node);
    }
    for (std::size_t i = 0; i < lost; ++i) *static_cast<Node*>(std::malloc(sizeof(Node))) = {nullptr, nullptr, i};
  }
  std::vector<arena::report> reports;
  for (int i = 0; i < 8; ++i) reports.push_back(arena::scan());
  reports.erase(reports.begin());  // the first one sets up
  std::sort(reports.begin(), reports.end(),
            [](const arena::report& a, const arena::report& b) { return a.total_ns < b.total_ns; });
  const arena::report& r = reports[reports.size() / 2];
  std::printf(
      "%llu objects, %llu MB: total %.2f ms = prepare %.2f + mark %.2f + white %.2f + classify %.2f; pause %.2f; "
      "%llu leaked\n",
      static_cast<unsigned long long>(r.seen.objects), static_cast<unsigned long long>(r.seen.bytes >> 20),
      ms(r.total_ns), ms(r.prepare_ns), ms(r.mark_ns), ms(r.white_ns), ms(r.classify_ns), ms(r.longest_pause_ns),
      static_cast<unsigned long long>(r.leaked.objects));
  std::fflush(stdout);
  std::_Exit(0);
}
