#include "scan/pagemap.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "alloc/os.h"

namespace arenascan::scan {
namespace {

// The interface of Linux 6.7 (Documentation/admin-guide/mm/pagemap.rst), which Debian 12's headers do not have.
struct ScanRegion {
  std::uint64_t begin, end, categories;
};
struct ScanArgument {
  std::uint64_t size, flags, begin, end, walk_end, regions, region_count, most_pages;
  std::uint64_t inverted, all_of, any_of, told;
};
constexpr unsigned long kScan = _IOWR('f', 16, ScanArgument);
constexpr std::uint64_t kProtectMatching = 1;  // flags
constexpr std::uint64_t kOnlyWatched = 2;
constexpr std::uint64_t kIsWritten = 2;  // categories
constexpr std::uint64_t kIsFile = 4;
constexpr std::uint64_t kIsPresent = 8;
constexpr std::uint64_t kIsSwapped = 16;

AddressRange whole_pages(AddressRange range) noexcept {
  constexpr std::uintptr_t kMask = alloc::kOsPageBytes - 1;
  return {range.begin & ~kMask, (range.end + kMask) & ~kMask};
}

// What one question covers: the kernel holds locks meanwhile that a writer to the same memory may wait for.
constexpr std::uintptr_t kStepBytes = std::uintptr_t{1} << 23;

// Asks for one range after the other until all of `range` is covered, and calls told(regions) for each answer. False
// when the kernel does not take the question.
template <typename Told>
bool ask(int file, ScanArgument question, AddressRange range, Told&& told) noexcept {
  std::array<ScanRegion, 256> regions;
  question.size = sizeof(question);
  question.regions = reinterpret_cast<std::uint64_t>(regions.data());
  const bool changes = (question.flags & kProtectMatching) != 0;
  const AddressRange pages = whole_pages(range);
  // The kernel makes room for as many regions as it may tell of: no more than there can be.
  const std::size_t most = (pages.end - pages.begin) / alloc::kOsPageBytes / 2 + 1;
  question.region_count = std::min(regions.size(), most);
  for (question.begin = pages.begin; question.begin < pages.end; question.begin = question.walk_end) {
    question.end = changes ? std::min<std::uint64_t>(pages.end, question.begin + kStepBytes) : pages.end;
    int count = 0;
    do {
      count = ioctl(file, kScan, &question);
    } while (count < 0 && errno == EINTR);
    if (count < 0 || question.walk_end <= question.begin) return false;
    told(std::span<const ScanRegion>(regions.data(), static_cast<std::size_t>(count)));
  }
  return true;
}

// Runs of pages that match; false as above.
bool ask_for_runs(int file, const ScanArgument& question, AddressRange range, Pagemap::RunVisit visit,
                  void* argument) noexcept {
  return ask(file, question, range, [&](std::span<const ScanRegion> regions) {
    for (const ScanRegion& region : regions) {
      const AddressRange run{std::max<std::uintptr_t>(region.begin, range.begin),
                             std::min<std::uintptr_t>(region.end, range.end)};
      if (run.begin < run.end) visit(run, argument);
    }
  });
}

ScanArgument written_question() noexcept {
  ScanArgument question{};
  question.flags = kOnlyWatched;
  question.all_of = question.told = kIsWritten;
  return question;
}

}  // namespace

int move_out_of_the_way(int file) noexcept {
  if (file < 0) return file;
  constexpr int kAbove = 960;  // below the usual limit of 1,024
  const int moved = fcntl(file, F_DUPFD_CLOEXEC, kAbove);
  if (moved < 0) return file;
  ::close(file);
  return moved;
}

void Pagemap::open(Beside what) noexcept {
  const alloc::ErrnoKeeper keeper;
  close();
  file_ = ::open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
  if (what == Beside::kProgram) file_ = move_out_of_the_way(file_);
}

void Pagemap::close() noexcept {
  const alloc::ErrnoKeeper keeper;
  if (file_ >= 0) ::close(file_);
  file_ = -1;
}

bool Pagemap::for_each_touched_run(AddressRange range, RunVisit visit, void* argument) const noexcept {
  const alloc::ErrnoKeeper keeper;
  ScanArgument question{};
  question.any_of = kIsPresent | kIsSwapped;
  question.all_of = question.inverted = kIsFile;
  question.told = kIsPresent;  // runs do not end where a page is swapped out or not: nobody asks which
  return ask_for_runs(file_, question, range, visit, argument) || read_entries(range, visit, argument);
}

bool Pagemap::tells_runs() const noexcept {
  const alloc::ErrnoKeeper keeper;
  ScanArgument question{};
  question.all_of = question.told = kIsPresent;
  return ask(file_, question, {0, alloc::kOsPageBytes}, [](std::span<const ScanRegion>) {});
}

bool Pagemap::read_entries(AddressRange range, RunVisit visit, void* argument) const noexcept {
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
  constexpr std::uint64_t kFilePage = std::uint64_t{1} << 61;
  std::array<std::uint64_t, 512> entries;
  const auto tell = [&](AddressRange run) {
    run = {std::max(run.begin, range.begin), std::min(run.end, range.end)};
    if (run.begin < run.end) visit(run, argument);
  };
  const AddressRange pages = whole_pages(range);
  AddressRange run{pages.begin, pages.begin};
  for (std::uintptr_t at = pages.begin; at < pages.end;) {
    const std::size_t count = std::min(entries.size(), (pages.end - at) / alloc::kOsPageBytes);
    const auto wanted = static_cast<ssize_t>(count * sizeof(entries[0]));
    const ssize_t got = pread(file_, entries.data(), static_cast<std::size_t>(wanted),
                              static_cast<off_t>(at / alloc::kOsPageBytes * sizeof(entries[0])));
    if (got < 0 && errno == EINTR) continue;
    if (got != wanted) return false;
    for (std::size_t i = 0; i < count; ++i, at += alloc::kOsPageBytes) {
      const bool touched = (entries[i] & (kPresent | kSwapped)) != 0 && (entries[i] & kFilePage) == 0;
      if (!touched) continue;
      if (run.end != at) {
        tell(run);
        run.begin = at;
      }
      run.end = at + alloc::kOsPageBytes;
    }
  }
  tell(run);
  return true;
}

// `count`: of regions that were told; negative: the kernel did not take the question, or has not answered yet. Written
// by who asks, release, after the rest; read by for_each_run(), acquire.
struct WrittenParts::Part {
  AddressRange range;
  ScanArgument question;
  std::atomic<std::int64_t> count;
  std::array<ScanRegion, 128> regions;
};

WrittenParts::Part* WrittenParts::parts() const noexcept {
  return reinterpret_cast<Part*>(const_cast<std::uint64_t*>(room_.begin()));
}

bool WrittenParts::make_room() noexcept { return room_.resize(kMostParts * sizeof(Part) / sizeof(std::uint64_t)); }

void WrittenParts::cut(const Pagemap& pagemap, AddressRange range) noexcept {
  constexpr std::uintptr_t kLeastBytes = std::uintptr_t{8} << 20;
  const AddressRange pages = whole_pages(range);
  file_ = pagemap.file_;
  count_ = 0;
  for (std::uintptr_t at = pages.begin; at < pages.end;) {
    const std::uintptr_t left = pages.end - at;
    const bool is_last = count_ + 1 == kMostParts || left <= kLeastBytes;
    const std::uintptr_t bytes = is_last ? left : std::max((left / 4) & ~(kLeastBytes - 1), kLeastBytes);
    Part& part = parts()[count_++];
    part.range = {at, at + bytes};
    part.count.store(-1, std::memory_order_relaxed);
    part.question = written_question();
    part.question.size = sizeof(part.question);
    part.question.begin = part.range.begin;
    part.question.end = part.range.end;
    part.question.regions = reinterpret_cast<std::uint64_t>(part.regions.data());
    part.question.region_count = part.regions.size();
    at += bytes;
  }
  next_.store(0, std::memory_order_relaxed);
}

void WrittenParts::ask() noexcept {
  const alloc::ErrnoKeeper keeper;
  for (std::uint32_t i = 0; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
    Part& part = parts()[i];
    part.count.store(ioctl(file_, kScan, &part.question), std::memory_order_release);
  }
}

// What was too much for one answer, was interrupted, or is still on its way, is asked for here.
bool WrittenParts::for_each_run(Pagemap::RunVisit visit, void* argument) const noexcept {
  const alloc::ErrnoKeeper keeper;
  for (std::uint32_t i = 0; i < count_; ++i) {
    const Part& part = parts()[i];
    const std::int64_t count = part.count.load(std::memory_order_acquire);
    for (std::int64_t r = 0; r < count; ++r) {
      const ScanRegion& region = part.regions[static_cast<std::size_t>(r)];
      visit({region.begin, region.end}, argument);
    }
    const std::uint64_t told = count < 0 ? part.range.begin : part.question.walk_end;
    if (!ask_for_runs(file_, written_question(), {told, part.range.end}, visit, argument)) return false;
  }
  return true;
}

bool Pagemap::for_each_written_run(AddressRange range, bool protect_again, RunVisit visit,
                                   void* argument) const noexcept {
  const alloc::ErrnoKeeper keeper;
  ScanArgument question = written_question();
  if (protect_again) question.flags |= kProtectMatching;
  return ask_for_runs(file_, question, range, visit, argument);
}

}  // namespace arenascan::scan
