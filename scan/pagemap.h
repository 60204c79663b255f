// What the kernel knows of the process's pages: which hold anything, and which were written since they were protected.
// /proc/PID/pagemap tells both.
//
// Linux 6.7 and later answer with runs of pages (the PAGEMAP_SCAN ioctl); before, an entry is read for each page, and
// nothing can be told about writes. The file is opened for one scan and closed after it. Where the program runs
// meanwhile it has a number far from those that programs count on; a program that closes it nevertheless makes the
// questions fail, which is told.
//
// Threads: the scanner's; also while the world is stopped, since only raw system calls are used. errno is kept.
// Called by: mark_cycle, roots, rereader, quiet_pages.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/meta_vector.h"
#include "scan/mappings.h"

namespace arenascan::scan {

// Moves a file to a number out of the program's way; returns its number then. Negative ones stay what they are.
int move_out_of_the_way(int file) noexcept;

class Pagemap {
 public:
  Pagemap() = default;
  Pagemap(const Pagemap&) = delete;
  Pagemap& operator=(const Pagemap&) = delete;
  ~Pagemap() { close(); }

  // Opens the calling thread's: /proc/self is the main thread, which has no pages when it has ended before the others.
  // Where other threads may run before it is closed, it has to be out of their way.
  enum class Beside : std::uint8_t { kStoppedWorld, kProgram };
  void open(Beside what) noexcept;
  void close() noexcept;

  using RunVisit = void (*)(AddressRange run, void* argument);

  // Calls visit for each run of pages of `range` that the process has touched; of a private file mapping: written.
  // False when the kernel does not tell.
  bool for_each_touched_run(AddressRange range, RunVisit visit, void* argument) const noexcept;

  // Whether the kernel tells of runs: then a large range that was hardly touched costs no more than a small one.
  [[nodiscard]] bool tells_runs() const noexcept;

  // Calls visit for each run of pages of `range`, whole ones, that were written since they were protected, or never
  // have been, those that do not exist yet among them; and protects them before it tells if so asked. False: not all of
  // the range is watched (write_watch.h).
  [[nodiscard]] bool for_each_written_run(AddressRange range, bool protect_again, RunVisit visit,
                                          void* argument) const noexcept;

 private:
  friend class WrittenParts;
  bool read_entries(AddressRange range, RunVisit visit, void* argument) const noexcept;

  int file_ = -1;
};

// for_each_written_run(), without protection, by several threads at once: the range is cut into parts, and whoever has
// time asks for the next. Each part is a quarter of what is left (guided self-scheduling: Polychronopoulos and Kuck,
// 1987), since a question has its price, and in the end one thread waits for the other's.
class WrittenParts {
 public:
  // Once, before all else. False: no memory.
  [[nodiscard]] bool make_room() noexcept;
  void cut(const Pagemap& pagemap, AddressRange range) noexcept;
  // Asks for one part after the other until none is left that nobody has asked for. Any thread, stopped by a signal for
  // instance: nothing but system calls.
  void ask() noexcept;
  // Calls visit for each run, in order of addresses. What has not been answered yet is asked for by the calling thread.
  // False: not all of the range is watched.
  [[nodiscard]] bool for_each_run(Pagemap::RunVisit visit, void* argument) const noexcept;

 private:
  static constexpr std::size_t kMostParts = 32;  // enough for 100 GB; the last one takes what is left
  struct Part;
  [[nodiscard]] Part* parts() const noexcept;

  alloc::MetaVector<std::uint64_t> room_;  // in the tool's memory: these are addresses of the heap
  int file_ = -1;
  std::uint32_t count_ = 0;
  // Which part is asked for next. Writers: all that ask. Relaxed: it says whose a part is, and nothing of the answer.
  std::atomic<std::uint32_t> next_{0};
};

}  // namespace arenascan::scan
