#include "scan/quiet_pages.h"

namespace arenascan::scan {

using alloc::kOsPageBytes;

namespace {

constexpr std::size_t kWordsOfPage = kOsPageBytes / sizeof(std::uintptr_t);

// Pagemap's visits, with anything that can be called.
template <typename Visit>
struct Visitor {
  static void call(AddressRange run, void* visit) { (*static_cast<Visit*>(visit))(run); }
};

}  // namespace

std::uintptr_t QuietPages::find(std::uintptr_t begin, std::uintptr_t end, bool loud) const noexcept {
  while (begin < end) {
    const std::size_t number = number_of(begin);
    const bool is_quiet = number < states_.size() && (states_[number] & kQuiet) != 0;
    if (is_quiet != loud) return begin;
    begin = (begin & ~(kOsPageBytes - 1)) + kOsPageBytes;
  }
  return end;
}

void QuietPages::set(std::uintptr_t page, State state) noexcept {
  State& now = states_[number_of(page)];
  if ((now & kQuiet) != 0) --quiet_pages_;
  if ((state & kQuiet) != 0) ++quiet_pages_;
  now = state;
}

void QuietPages::forget() noexcept {
  drop_what_is_not_listed({});
  ranges_.clear();
}

// Whole pages of the large objects that are there, neighbours together.
std::size_t QuietPages::list(alloc::HeapView heap, std::size_t page_end) noexcept {
  const auto reserved = heap.reserved();
  base_ = reserved.begin;
  window_ = {reserved.begin, reserved.bytes};
  listed_.clear();
  std::size_t listed_bytes = 0;
  heap.for_each_page(
      0, page_end, [](const alloc::Page&) {},
      [&](const alloc::Page& page) {
        if (!page.is_large()) return;
        const std::size_t bytes = page.large_bytes.load(std::memory_order_relaxed) & ~(kOsPageBytes - 1);
        if (bytes < kLeastObjectBytes) return;
        AddressRange* const last = listed_.empty() ? nullptr : &listed_[listed_.size() - 1];
        if (last != nullptr && last->end == page.base) {
          last->end = page.base + bytes;
        } else if (!listed_.push_back({page.base, page.base + bytes})) {
          return;
        }
        listed_bytes += bytes;
      });
  return listed_bytes;
}

// Pages of ranges_ that are in none of `listed` are not asked about any more, so nothing may be known of them.
void QuietPages::drop_what_is_not_listed(std::span<const AddressRange> listed) noexcept {
  const auto same = [](const AddressRange& a, const AddressRange& b) { return a.begin == b.begin && a.end == b.end; };
  if (std::equal(ranges_.begin(), ranges_.end(), listed.begin(), listed.end(), same)) return;
  const AddressRange* next = listed.data();
  const AddressRange* const end = next + listed.size();
  for (const AddressRange& range : ranges_) {
    for (std::uintptr_t page = range.begin; page < range.end; page += kOsPageBytes) {
      while (next != end && next->end <= page) ++next;
      if (next == end || page < next->begin) set(page, 0);
    }
  }
}

bool QuietPages::note_written(AddressRange range, const Pagemap& pagemap) noexcept {
  auto note = [this](AddressRange run) {
    for (std::uintptr_t page = run.begin; page < run.end; page += kOsPageBytes) {
      if ((states_[number_of(page)] & kKnown) != 0) set(page, kRest);
    }
  };
  return pagemap.for_each_written_run(range, false, Visitor<decltype(note)>::call, &note);
}

bool QuietPages::is_without_pointers(std::uintptr_t page) noexcept {
  return filter_words(reinterpret_cast<const std::uintptr_t*>(page), kWordsOfPage, window_, words_.begin()) == 0;
}

// A page that the program has never touched is zero, and is not read: the kernel would have to make it.
bool QuietPages::learn_run(AddressRange run, const Pagemap& pagemap) noexcept {
  if (run.begin >= run.end) return true;
  if (!pagemap.for_each_written_run(
          run, true, [](AddressRange, void*) {}, nullptr)) {
    return false;
  }
  for (std::uintptr_t page = run.begin; page < run.end; page += kOsPageBytes) set(page, kKnown | kQuiet);
  auto touched = [this](AddressRange part) {
    for (std::uintptr_t page = part.begin; page < part.end; page += kOsPageBytes) {
      if (!is_without_pointers(page)) set(page, kKnown);
    }
  };
  return pagemap.for_each_touched_run(run, Visitor<decltype(touched)>::call, &touched);
}

bool QuietPages::learn(AddressRange range, const Pagemap& pagemap) noexcept {
  AddressRange run{range.begin, range.begin};
  bool is_watched = true;
  for (std::uintptr_t page = range.begin; page < range.end; page += kOsPageBytes) {
    State& state = states_[number_of(page)];
    const bool is_resting = (state & kRestMask) != 0;
    if (is_resting) --state;
    if ((state & kKnown) != 0 || is_resting) continue;
    if (run.end != page) {
      is_watched = is_watched && learn_run(run, pagemap);
      run.begin = page;
    }
    run.end = page + kOsPageBytes;
  }
  return is_watched && learn_run(run, pagemap);
}

void QuietPages::survey(const Pagemap& pagemap) noexcept {
  const std::size_t pages = listed_.empty() ? 0 : number_of(listed_[listed_.size() - 1].end);
  if (!words_.resize(kWordsOfPage + kFilterSlack) || !states_.resize(std::max(states_.size(), pages))) return forget();
  drop_what_is_not_listed({listed_.begin(), listed_.size()});
  ranges_.swap(listed_);
  for (const AddressRange& range : ranges_) {
    if (!learn(range, pagemap)) return forget();
  }
}

void QuietPages::begin_mark(const Pagemap& pagemap) noexcept {
  for (const AddressRange& range : ranges_) {
    if (!note_written(range, pagemap)) return forget();
  }
}

}  // namespace arenascan::scan
