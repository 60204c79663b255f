// live OBJECTS: peak RSS in KiB of a program that holds so many objects of 24 to 256 bytes, 90 on average, all written
// to. 2.6 million of them are 234 MB of bytes asked for, and 21 MB of pointers to them.
#include <vector>

#include "program.h"

namespace {

std::size_t random_size(bench::Random& random) {  // three in four small; the mean is 90
  return random.below(4) < 3 ? 24 + random.below(78) : 89 + random.below(168);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  std::vector<void*> live(program.work(program.number(0, 2'600'000)));
  bench::Random random(1);
  for (void*& object : live) {
    const std::size_t size = random_size(random);
    object = std::malloc(size);
    std::memset(object, 1, size);
  }
  std::printf("%lu\n", bench::peak_rss_kib());
  for (void* object : live) std::free(object);
}
