#include "scan/rereader.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "alloc/os.h"
#include "scan/errand.h"

namespace arenascan::scan {

namespace {

// Protected and reread at a time: on average a page is protected, and dear to write to, half as long as it takes to
// read all.
constexpr std::uintptr_t kPieceBytes = std::uintptr_t{2} << 20;

constexpr unsigned kMostRounds = 12;

// The last round is one that finds more than so many eighths of what the one before had found: the program writes
// nearly as fast as rounds go. Those of hot pieces take a tenth of the time, and spare the pause more.
constexpr std::size_t kEighthsOfAll = 5;
constexpr std::size_t kEighthsOfHot = 7;

// A piece is hot when so many times as much is written to it as to most.
constexpr std::size_t kHot = 4;
bool is_hot(std::size_t pages, std::size_t sum, std::size_t pieces) noexcept { return pages * pieces > kHot * sum; }

std::size_t page_count(AddressRange run) noexcept { return (run.end - run.begin) / alloc::kOsPageBytes; }

// A piece is busy when one visit after the first finds more than one page of so many written.
constexpr std::size_t kBusy = 4;

// Listed at a time: 5 us, or 200 when all of it was written.
constexpr std::uintptr_t kListedAtOnce = std::uintptr_t{4} << 20;

// Longer runs of written pages are reread in parts, and every few of those the clock is asked.
constexpr std::uintptr_t kRunBytes = 8 * alloc::kOsPageBytes;
constexpr std::size_t kRunsPerQuestion = 4;

// Runs that are asked for from memory before their turn.
constexpr std::size_t kFar = 8;
constexpr std::size_t kNear = 4;

// To ask for a part of what was written takes as long, at most, where that was not hindered.
constexpr std::uint64_t kErrandPatienceNs = 50'000;

}  // namespace

Incomplete Rereader::drain(Pace& pace, Phase phase) noexcept {
  struct Pieces {
    Pace& pace;
    Phase phase;
    const Marker& marker;
    std::uint64_t end_ns = alloc::os_monotonic_ns() + Pace::kPieceNs;
  } pieces{pace, phase, marker_};
  const auto is_cancelled = [](void* argument) {
    Pieces& now = *static_cast<Pieces*>(argument);
    if (alloc::os_monotonic_ns() < now.end_ns) return false;
    const bool goes_on = now.pace.go_on(now.phase, now.marker.reached());
    now.end_ns = alloc::os_monotonic_ns() + Pace::kPieceNs;
    return !goes_on;
  };
  return marker_.drain_until({is_cancelled, &pieces}) ? Incomplete::kNo : Incomplete::kCancelled;
}

Incomplete Rereader::begin(Pace& pace) noexcept { return begin(Visit::kFirst, pace); }

Incomplete Rereader::begin_anew(Pace& pace) noexcept { return begin(Visit::kWhole, pace); }

Incomplete Rereader::begin(Visit which, Pace& pace) noexcept {
  if (!parts_.make_room()) return Incomplete::kNoMemory;
  std::size_t pages = 0;
  const Incomplete problem = visit(which, pace, pages);
  return problem != Incomplete::kNo ? problem : drain(pace, Phase::kReread);
}

Incomplete Rereader::catch_up(Pace& pace) noexcept {
  by_piece_.clear();
  return visit_until_settled(Visit::kAll, pace);
}

Incomplete Rereader::catch_up_hot(Pace& pace) noexcept { return visit_until_settled(Visit::kHot, pace); }

Incomplete Rereader::catch_up_listed(Pace& pace) noexcept {
  const AddressRange all = watched();
  const std::size_t pieces = (all.end - all.begin + kPieceBytes - 1) / kPieceBytes;
  if (!by_piece_.resize(pieces)) return Incomplete::kNoMemory;
  for (Piece& piece : by_piece_) piece.last = 0;
  for (const AddressRange& run : written_) {
    by_piece_[(run.begin - all.begin) / kPieceBytes].last += static_cast<std::uint16_t>(page_count(run));
  }
  std::size_t hot = 0;
  for (const Piece& piece : by_piece_) hot += is_hot(piece.last, pages_, pieces) ? piece.last : 0;
  return 2 * hot < pages_ ? Incomplete::kNo : visit_until_settled(Visit::kHot, pace);
}

Incomplete Rereader::visit_until_settled(Visit which, Pace& pace) noexcept {
  const std::size_t eighths = which == Visit::kHot ? kEighthsOfHot : kEighthsOfAll;
  std::size_t before = SIZE_MAX;
  for (unsigned round = 0; round < kMostRounds && (round == 0 || unlisted_pages_ > kFewPages); ++round) {
    std::size_t pages = 0;
    Incomplete problem = visit(which, pace, pages);
    if (problem == Incomplete::kNo) problem = drain(pace, Phase::kReread);
    if (problem != Incomplete::kNo) return problem;
    if (pages > before / 8 * eighths) break;
    before = pages;
  }
  return Incomplete::kNo;
}

Incomplete Rereader::visit(Visit which, Pace& pace, std::size_t& pages) noexcept {
  const AddressRange all = watched();
  const std::size_t pieces = (all.end - all.begin + kPieceBytes - 1) / kPieceBytes;
  if (!by_piece_.resize(pieces)) return Incomplete::kNoMemory;
  const std::size_t sum = unlisted_pages_;
  std::size_t expected = 0;
  for (std::size_t i = 0; i < pieces; ++i) {
    if (which != Visit::kHot || is_hot(by_piece_[i].last, sum, pieces)) {
      const std::uintptr_t at = all.begin + i * kPieceBytes;
      const AddressRange piece{at, std::min(all.end, at + kPieceBytes)};
      begin_list();
      if (const Incomplete problem = list(piece, Protect::kAgain); problem != Incomplete::kNo) return problem;
      const bool all_of_it = which == Visit::kWhole || (which == Visit::kFirst && 2 * pages_ > page_count(piece));
      if (all_of_it) {
        marker_.reread_all(piece);
      } else {
        reread_until(UINT64_MAX, Marker::Time::kToSpare);
      }
      by_piece_[i].last = static_cast<std::uint16_t>(pages_);
      by_piece_[i].most = std::max(by_piece_[i].most, by_piece_[i].last);
      pages += pages_;
      if ((all_of_it || pages_ != 0) && !pace.go_on(Phase::kReread, marker_.reached())) return Incomplete::kCancelled;
    }
    expected += by_piece_[i].last;
  }
  set_expected(expected);
  return Incomplete::kNo;
}

Incomplete Rereader::release_busy(const WriteWatch& watch, Pace& pace) noexcept {
  const AddressRange all = watched();
  for (std::size_t i = 0; i < by_piece_.size(); ++i) {
    const std::uintptr_t at = all.begin + i * kPieceBytes;
    const AddressRange piece{at, std::min(all.end, at + kPieceBytes)};
    if (by_piece_[i].most * kBusy <= page_count(piece)) continue;
    watch.release(piece);
    if (!pace.go_on(Phase::kReread, marker_.reached())) return Incomplete::kCancelled;
  }
  return Incomplete::kNo;
}

Incomplete Rereader::list_and_protect(std::uint64_t deadline_ns) noexcept {
  const AddressRange all = watched();
  begin_list();
  std::uint64_t now_ns = alloc::os_monotonic_ns();
  std::uint64_t longest_ns = 0;  // that a part has taken: there may be time for one more
  do {
    if (listed_to_ < all.begin || listed_to_ >= all.end) listed_to_ = all.begin;
    const AddressRange part{listed_to_, std::min(all.end, listed_to_ + kListedAtOnce)};
    if (const Incomplete problem = list(part, Protect::kAgain); problem != Incomplete::kNo) return problem;
    listed_to_ = part.end;
    listed_bytes_ += part.end - part.begin;
    const std::uint64_t began_ns = std::exchange(now_ns, alloc::os_monotonic_ns());
    longest_ns = std::max(longest_ns, now_ns - began_ns);
  } while (listed_bytes_ < all.end - all.begin && now_ns + longest_ns < deadline_ns);
  unlisted_pages_ -= std::min(unlisted_pages_, pages_);
  if (listed_bytes_ >= all.end - all.begin) {
    listed_bytes_ = 0;
    unlisted_pages_ = std::exchange(new_pages_, 0);
  }
  return Incomplete::kNo;
}

void Rereader::begin_list_locked() noexcept {
  begin_list();
  parts_.cut(pagemap_, in_use_locked());
  offer_errand({[](void* parts) { static_cast<WrittenParts*>(parts)->ask(); }, &parts_});
}

Incomplete Rereader::end_list() noexcept {
  parts_.ask();
  // Nothing is left of it, but for the part that the other one is at: without a processor it could be at it for long.
  static_cast<void>(take_back_errand(kErrandPatienceNs));
  if (!parts_.for_each_run(add_run, this)) return Incomplete::kWatchLost;
  set_expected(pages_);
  return fits_ ? Incomplete::kNo : Incomplete::kNoMemory;
}

void Rereader::begin_list() noexcept {
  written_.clear();
  next_ = 0;
  pages_ = 0;
  fits_ = true;
}

void Rereader::add_run(AddressRange run, void* rereader) noexcept {
  Rereader& to = *static_cast<Rereader*>(rereader);
  to.pages_ += page_count(run);
  for (std::uintptr_t at = run.begin; at < run.end; at += kRunBytes) {
    to.fits_ = to.written_.push_back({at, std::min(run.end, at + kRunBytes)}) && to.fits_;
  }
}

void Rereader::set_expected(std::size_t pages) noexcept {
  unlisted_pages_ = pages;
  new_pages_ = 0;
  listed_bytes_ = 0;
}

Incomplete Rereader::list(AddressRange range, Protect protect) noexcept {
  if (!pagemap_.for_each_written_run(range, protect == Protect::kAgain, add_run, this)) return Incomplete::kWatchLost;
  return fits_ ? Incomplete::kNo : Incomplete::kNoMemory;
}

bool Rereader::reread_until(std::uint64_t deadline_ns, Marker::Time time) noexcept {
  while (next_ < written_.size()) {
    const std::size_t i = next_++;
    if (i + kFar < written_.size()) marker_.fetch_page(written_[i + kFar].begin);
    if (i + kNear < written_.size()) marker_.fetch_objects_at(written_[i + kNear].begin);
    marker_.reread(written_[i], time);
    if (i % kRunsPerQuestion == 0 && alloc::os_monotonic_ns() >= deadline_ns) break;
  }
  return next_ == written_.size();
}

// All that is in use now. Pages handed out later have not been protected, and so count as written.
AddressRange Rereader::watched() noexcept {
  const std::scoped_lock heap(heap_);
  return in_use_locked();
}

AddressRange Rereader::in_use_locked() const noexcept {
  const auto in_use = heap_.in_use_locked();
  return {in_use.begin, in_use.begin + in_use.bytes};
}

}  // namespace arenascan::scan
