// pair PAIRS [FRAMES]: so many times malloc(64) and free, called so many frames below main, and nothing else. Two runs
// of different length tell the instructions of a warm pair; see instructions.sh.
#include "program.h"

namespace {

[[gnu::noinline]] void pairs(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::free(bench::touch(64));
}

[[gnu::noinline]] void descend(std::size_t frames, std::size_t count) {
  if (frames == 0) {
    pairs(count);
  } else {
    descend(frames - 1, count);
  }
  asm volatile("");  // no tail call
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Program program(argc, argv);
  descend(program.number(1, 0), program.work(program.number(0, 1'000'000)));
}
