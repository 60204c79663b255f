#include "scan/roots.h"

#include <algorithm>

#include "alloc/os.h"

namespace arenascan::scan {
namespace {

constexpr std::uintptr_t kRedZoneBytes = 128;
constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);

bool contains(AddressRange range, std::uintptr_t address) noexcept {
  return address >= range.begin && address < range.end;
}

bool comes_first(AddressRange a, AddressRange b) noexcept {
  return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
}

AddressRange intersection(AddressRange a, AddressRange b) noexcept {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

// Calls visit(part) for what is left of `range` without the sorted, disjoint `holes`.
template <typename Visit>
void for_each_part_outside(AddressRange range, const alloc::MetaVector<AddressRange>& holes, Visit&& visit) noexcept {
  const AddressRange* hole =
      std::upper_bound(holes.begin(), holes.end(), range.begin,
                       [](std::uintptr_t begin, const AddressRange& h) { return begin < h.end; });
  for (; hole != holes.end() && hole->begin < range.end; ++hole) {
    if (hole->begin > range.begin) visit(AddressRange{range.begin, hole->begin});
    range.begin = std::max(range.begin, hole->end);
  }
  if (range.begin < range.end) visit(range);
}

}  // namespace

void sort_and_merge(alloc::MetaVector<AddressRange>& ranges) noexcept {
  std::sort(ranges.begin(), ranges.end(),
            [](const AddressRange& a, const AddressRange& b) { return a.begin < b.begin; });
  std::size_t kept = 0;
  for (const AddressRange& range : ranges) {
    if (range.begin >= range.end) continue;
    if (kept != 0 && ranges[kept - 1].end >= range.begin) {
      ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
    } else {
      ranges[kept++] = range;
    }
  }
  ranges.truncate(kept);
}

bool UserRoots::add(AddressRange range) noexcept {
  const std::scoped_lock guard(mutex_);
  return ranges_.push_back(range);
}

bool UserRoots::remove(AddressRange range) noexcept {
  const std::scoped_lock guard(mutex_);
  for (AddressRange& known : ranges_) {
    if (known.begin != range.begin || known.end != range.end) continue;
    const AddressRange last = ranges_.pop_back();
    if (&known != ranges_.end()) known = last;
    return true;
  }
  return false;
}

bool RootCollector::is_enabled(RootKind kind) const noexcept {
  switch (kind) {
    case RootKind::kGlobals: return settings_.globals;
    case RootKind::kStack: return settings_.stacks;
    case RootKind::kRegisters: return settings_.registers;
    case RootKind::kTls: return settings_.tls;
    case RootKind::kMapping: return settings_.mappings;
    case RootKind::kUser: return settings_.user;
  }
  return true;
}

void RootCollector::add(AddressRange range, RootKind kind, bool closed) noexcept {
  if (!is_enabled(kind)) return;
  range = {(range.begin + kWord - 1) & ~(kWord - 1), range.end & ~(kWord - 1)};
  if (range.begin < range.end) fits_ = roots_.push_back({range, kind, thread_, closed}) && fits_;
}

void RootCollector::want(AddressRange range, RootKind kind, bool file, bool closed) noexcept {
  if (kind == RootKind::kGlobals && !closed && is_whole(range)) {
    add(range, kind);
  } else if (is_enabled(kind)) {
    fits_ = wanted_.push_back({range, kind, file, closed}) && fits_;
  }
}

bool RootCollector::is_whole(AddressRange range) const noexcept {
  return modules_stand_ && std::binary_search(whole_.begin(), whole_.end(), range, comes_first);
}

// A module's pages stay touched. Not asking for short parts of which all were takes an eighth off a small scan; of long
// ones there is less to gain than a program could give back meanwhile.
void RootCollector::learn_whole(std::span<const Wanted> wanted, std::size_t first_root) noexcept {
  constexpr std::uintptr_t kShort = std::uintptr_t{1} << 16;
  const std::size_t known = whole_.size();
  const RootRange* root = roots_.begin() + first_root;
  for (const Wanted& part : wanted) {
    while (root != roots_.end() && root->range.end <= part.range.begin) ++root;
    const bool is_whole =
        root != roots_.end() && root->range.begin <= part.range.begin && root->range.end >= part.range.end;
    const bool is_short = part.range.end - part.range.begin <= kShort;
    if (is_whole && is_short && part.kind == RootKind::kGlobals && !part.closed) {
      fits_ = whole_.push_back(part.range) && fits_;
    }
  }
  if (whole_.size() != known) std::sort(whole_.begin(), whole_.end(), comes_first);
}

// One question to the kernel costs as much as looking at some tens of pages and the mappings they lie in: what lies
// close together is asked for at once, and what lies between is left out of the answer. (Of gaps of 16 KiB to 1 MiB
// this one made scans of 1,000 objects fastest, by 6 % against 1 MiB.)
template <typename Visit>
void RootCollector::for_each_cluster(Visit&& visit) const noexcept {
  constexpr std::uintptr_t kClose = std::uintptr_t{1} << 16;
  for (const Wanted* from = wanted_.begin(); from != wanted_.end();) {
    const Wanted* to = from + 1;
    while (to != wanted_.end() && to->range.begin - to[-1].range.end < kClose) ++to;
    visit(std::span<const Wanted>(from, to));
    from = to;
  }
}

void RootCollector::add_wanted() noexcept {
  std::sort(wanted_.begin(), wanted_.end(),
            [](const Wanted& a, const Wanted& b) { return a.range.begin < b.range.begin; });
  for_each_cluster([this](std::span<const Wanted> wanted) { add_touched(wanted); });
}

void RootCollector::rehearse(const Pagemap& pagemap) noexcept {
  static_cast<void>(read_mappings());
  for_each_cluster([&](std::span<const Wanted> wanted) {
    pagemap.for_each_touched_run(
        {wanted.front().range.begin, wanted.back().range.end}, [](AddressRange, void*) {}, nullptr);
  });
  constexpr std::size_t kLineBytes = 64;
  std::size_t left = std::size_t{512} << 10;  // more would drive out what else the pause needs
  for (const RootRange& root : roots_) {
    const std::size_t bytes = std::min(left, root.range.end - root.range.begin);
    for (std::size_t at = 0; at < bytes; at += kLineBytes) {
      __builtin_prefetch(reinterpret_cast<const void*>(root.range.begin + at));
    }
    left -= bytes;
  }
}

void RootCollector::add_touched(std::span<const Wanted> wanted) noexcept {
  struct Target {
    RootCollector* collector;
    std::span<const Wanted> wanted;
  } target{this, wanted};
  const std::size_t before = roots_.size();
  const bool told = pagemap_->for_each_touched_run(
      {wanted.front().range.begin, wanted.back().range.end},
      [](AddressRange run, void* argument) {
        auto& [collector, rest] = *static_cast<Target*>(argument);
        while (!rest.empty() && rest.front().range.end <= run.begin) rest = rest.subspan(1);
        for (const Wanted& part : rest) {
          if (part.range.begin >= run.end) break;
          collector->add(intersection(part.range, run), part.kind, part.closed);
        }
      },
      &target);
  if (told) return learn_whole(wanted, before);
  // Without the kernel's word on pages, anonymous memory and a module's data are read whole; another file's mapping may
  // have been cut short, and is read by the kernel.
  roots_.truncate(before);
  for (const Wanted& part : wanted) {
    if (part.closed && is_untouched(part.range)) continue;
    if (!part.file || part.kind == RootKind::kGlobals) {
      add(part.range, part.kind, part.closed);
    } else {
      add_file(part.range, part.kind);
    }
  }
}

// Of memory that others share, what it holds does not tell by this process's pages. Read by the kernel, since the file
// may be cut short at any time, up to its end.
void RootCollector::add_file(AddressRange part, RootKind kind) noexcept {
  const auto is_read = [this](std::uintptr_t page) {
    const Reading reading = for_each_closed_piece({page, page + kWord}, [](AddressRange, std::uintptr_t) {});
    if (reading == Reading::kDenied) untold_ = Incomplete::kClosedMemory;
    return reading == Reading::kWhole;
  };
  if (!is_enabled(kind)) return;
  std::uintptr_t begin = part.begin & ~(alloc::kOsPageBytes - 1);
  std::uintptr_t end = (part.end + alloc::kOsPageBytes - 1) & ~(alloc::kOsPageBytes - 1);
  if (!is_read(end - alloc::kOsPageBytes)) {
    while (begin < end) {
      const std::uintptr_t middle = begin + (end - begin) / alloc::kOsPageBytes / 2 * alloc::kOsPageBytes;
      is_read(middle) ? begin = middle + alloc::kOsPageBytes : end = middle;
    }
  }
  add({part.begin, std::min(part.end, end)}, kind, true);
}

void RootCollector::add_user(AddressRange range) noexcept {
  const Mapping* mapping =
      std::upper_bound(mappings_.begin(), mappings_.end(), range.begin,
                       [](std::uintptr_t at, const Mapping& entry) { return at < entry.range.end; });
  for (; mapping != mappings_.end() && mapping->range.begin < range.end; ++mapping) {
    const AddressRange part = intersection(mapping->range, range);
    if (mapping->shared) {
      add_file(part, RootKind::kUser);
    } else {
      want(part, RootKind::kUser, mapping->file, !mapping->readable);
    }
  }
}

void RootCollector::claim(AddressRange range) noexcept { fits_ = claimed_.push_back(range) && fits_; }

const Mapping* RootCollector::mapping_of(std::uintptr_t address) const noexcept {
  const Mapping* const after =
      std::upper_bound(mappings_.begin(), mappings_.end(), address,
                       [](std::uintptr_t at, const Mapping& mapping) { return at < mapping.range.end; });
  return after != mappings_.end() && contains(after->range, address) && after->readable ? after : nullptr;
}

// Stack from `from` to the frame the thread started in, thread-local data above it.
void RootCollector::add_stack(std::uintptr_t from, const StackEntry& entry) noexcept {
  add({from, entry.first_frame}, RootKind::kStack);
  add({std::max(from, entry.first_frame), entry.end}, RootKind::kTls);
}

void RootCollector::add_thread(const StoppedThread& thread, const ThreadRegistry& registry) noexcept {
  thread_ = thread.thread_id;
  fits_ = live_.push_back({thread.stack_pointer, thread.thread_pointer}) && fits_;
  add({thread.registers_begin, thread.registers_end}, RootKind::kRegisters);
  const VectorPieces vectors = vector_pieces(thread);
  for (std::size_t i = 0; i < vectors.count; ++i) {
    add({vectors.pieces[i].begin, vectors.pieces[i].end}, RootKind::kRegisters);
  }
  const Mapping* const mapping = mapping_of(thread.stack_pointer);
  if (mapping == nullptr) return;
  // The calling thread's registers lie where its stack begins; a signal frame lies below the red zone.
  const bool registers_on_top = thread.registers_begin == thread.stack_pointer;
  const std::uintptr_t from = registers_on_top ? thread.registers_end : thread.stack_pointer - kRedZoneBytes;
  for (const StackEntry& entry : registry.entries_locked()) {
    if (!contains({entry.begin, entry.end}, thread.stack_pointer)) continue;
    add_stack(std::max(from, entry.begin), entry);
    claim({entry.begin, entry.end});
    return;
  }
  const AddressRange rest{std::max(from, mapping->range.begin), mapping->range.end};
  const std::uintptr_t descriptor_page = thread.thread_pointer & ~(alloc::kOsPageBytes - 1);
  const std::uintptr_t split = contains(rest, thread.thread_pointer) ? std::max(descriptor_page, rest.begin) : rest.end;
  add({rest.begin, split}, RootKind::kStack);
  add({split, rest.end}, RootKind::kTls);
  claim(mapping->range);
}

void RootCollector::add_registered_stack(const StackEntry& entry) noexcept {
  const AddressRange range{entry.begin, entry.end};
  const Mapping* const mapping = mapping_of(entry.thread_pointer);
  if (mapping == nullptr || entry.begin < mapping->range.begin || entry.end > mapping->range.end) return;
  for (const Live& thread : live_) {
    if (contains(range, thread.stack_pointer)) return;  // done with its thread
    if (thread.thread_pointer == entry.thread_pointer) {
      add_stack(entry.begin, entry);  // its thread runs on another stack at the moment
      claim(range);
      return;
    }
  }
  const auto* const descriptor = reinterpret_cast<const std::uintptr_t*>(entry.thread_pointer);
  if (descriptor[0] != entry.thread_pointer || descriptor[2] != entry.thread_pointer) return;  // no such stack any more
  if (entry.inherited) {
    want({entry.begin, entry.first_frame}, RootKind::kStack, false);
    want({entry.first_frame, entry.end}, RootKind::kTls, false);
  } else if (entry.result_taken) {
    // The second word: the C library's own table of thread-local blocks, kept for the next thread with this stack.
    add({entry.thread_pointer + kWord, entry.thread_pointer + 2 * kWord}, RootKind::kTls);
  } else {
    add({entry.thread_pointer, entry.end}, RootKind::kTls);
  }
  claim(range);
}

void RootCollector::add_part(const Mapping& mapping, AddressRange part) noexcept {
  for (const Live& thread : live_) {
    if (contains(mapping.range, thread.thread_pointer)) {
      want(part, RootKind::kTls, mapping.file);
      return;
    }
  }
  for (const AddressRange& module : modules_) {
    const AddressRange data = intersection(part, module);
    if (data.begin < data.end) want(data, RootKind::kGlobals, mapping.file);
  }
  for_each_part_outside(part, modules_, [&](AddressRange rest) {
    const MappingTable::Answer special = MappingTable::is_special(mapping);
    if (special == MappingTable::Answer::kNo) want(rest, RootKind::kMapping, mapping.file);
    if (special == MappingTable::Answer::kUntold) untold_ = Incomplete::kMapsUnreadable;
  });
}

void RootCollector::add_mapping(const Mapping& mapping) noexcept {
  if (mapping.shared || mapping.special) return;
  if (!mapping.readable) return add_closed(mapping);
  if (mapping.file && !mapping.writable) return;
  for_each_part_outside(mapping.range, claimed_, [&](AddressRange part) { add_part(mapping, part); });
}

// What lies right below a stack is its guard, which nobody has touched.
void RootCollector::add_closed(const Mapping& mapping) noexcept {
  constexpr std::size_t kLargestByPages = std::size_t{64} << 20;
  if (mapping.file) return;
  if (mapping.range.end - mapping.range.begin > kLargestByPages && !pagemap_->tells_runs()) return;
  for_each_part_outside(mapping.range, claimed_, [this](AddressRange part) {
    const AddressRange* const above =
        std::lower_bound(claimed_.begin(), claimed_.end(), part.end,
                         [](const AddressRange& claimed, std::uintptr_t at) { return claimed.begin < at; });
    const bool is_guard = above != claimed_.end() && above->begin == part.end;
    if (!is_guard) want(part, RootKind::kMapping, false, true);
  });
}

void RootCollector::add_closed_heap(AddressRange part) noexcept {
  fits_ = closed_heap_.push_back(part) && fits_;
  const auto add_run = [](AddressRange run, void* argument) {
    auto& collector = *static_cast<RootCollector*>(argument);
    collector.fits_ = collector.touched_heap_.push_back(run) && collector.fits_;
  };
  const std::size_t before = touched_heap_.size();
  if (pagemap_->for_each_touched_run(part, add_run, this)) return;
  touched_heap_.truncate(before);
  add_run(part, this);
}

Incomplete RootCollector::collect_world_stopped(const RootSettings& settings, std::span<const StoppedThread> stopped,
                                                const StoppedThread& self, const ThreadRegistry& registry,
                                                std::span<const AddressRange> never, AddressRange heap_in_use,
                                                std::span<const AddressRange> user, const Pagemap& pagemap) noexcept {
  settings_ = settings;
  pagemap_ = &pagemap;
  fits_ = true;
  untold_ = Incomplete::kNo;
  claimed_.clear();
  live_.clear();
  wanted_.clear();
  roots_.clear();
  closed_heap_.clear();
  touched_heap_.clear();
  modules_stand_ = modules_stand();
  leave_unasked(never, heap_in_use);
  if (!read_mappings()) return Incomplete::kMapsUnreadable;

  for (const AddressRange& range : never) claim(range);
  add_thread(self, registry);
  for (const StoppedThread& thread : stopped) add_thread(thread, registry);
  thread_ = 0;
  for (const StackEntry& entry : registry.entries_locked()) add_registered_stack(entry);
  sort_and_merge(claimed_);
  for (const Mapping& mapping : mappings_) {
    add_mapping(mapping);
    const AddressRange closed = intersection(mapping.range, heap_in_use);
    if (!mapping.readable && closed.begin < closed.end) add_closed_heap(closed);
  }
  for (const AddressRange& range : user) add_user(range);
  add_wanted();
  return fits_ ? untold_ : Incomplete::kNoMemory;
}

}  // namespace arenascan::scan
