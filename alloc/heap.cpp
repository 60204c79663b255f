#include "alloc/heap.h"

#include <algorithm>
#include <new>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr std::size_t kMinReserveBytes = std::size_t{1} << 24;
constexpr std::size_t kMetadataStepBytes = std::size_t{1} << 18;
constexpr std::size_t kHugePageBytes = std::size_t{1} << 21;
constexpr unsigned kFetchesBeforePopulating = 2;
constexpr std::size_t kGuardBytes = std::size_t{1} << 20;  // inaccessible, between user memory and the rest

constexpr std::size_t round_up(std::size_t value, std::size_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

bool Heap::init(std::size_t reserve_bytes, const RunAllocator::Settings& settings) noexcept {
  const std::size_t limit = os_address_space_limit_bytes();
  // Metadata for the smallest slots takes less than 7/8 of their pages; under a limit on address space the program
  // needs the room more.
  const std::size_t metadata_eighths = limit == 0 ? 7 : 2;
  if (limit != 0) reserve_bytes = std::min(reserve_bytes, limit / 2);
  for (std::size_t user = round_up(reserve_bytes, kMinReserveBytes); user >= kMinReserveBytes; user /= 2) {
    user = round_up(user, kPageBytes);
    const std::size_t page_count = user >> kPageShift;
    const std::size_t map_bytes = round_up(page_count * sizeof(PageEntry), kOsPageBytes);
    const std::size_t bitmap_bytes = round_up(RunAllocator::bitmap_bytes(page_count), kOsPageBytes);
    const std::size_t total =
        user + kGuardBytes + map_bytes + bitmap_bytes + kHugePageBytes + user / 8 * metadata_eighths;
    reserved_ = os_reserve(total, kHugePageBytes);
    if (reserved_ == nullptr) continue;
    reserved_bytes_ = total;
    const auto begin = reinterpret_cast<std::uintptr_t>(reserved_);
    const std::uintptr_t map = begin + user + kGuardBytes;
    const std::uintptr_t bitmaps = map + map_bytes;
    if (!os_commit(reinterpret_cast<void*>(bitmaps), bitmap_bytes)) {
      destroy();
      continue;
    }
    map_.init(begin, page_count, reinterpret_cast<void*>(map));
    runs_.init(begin, page_count, reinterpret_cast<std::uint64_t*>(bitmaps), settings);
    metadata_begin_ = metadata_next_ = metadata_committed_ = round_up(bitmaps + bitmap_bytes, kHugePageBytes);
    metadata_end_ = begin + total - kOsPageBytes;  // what follows in memory is somebody else's
    return true;
  }
  return false;
}

void Heap::destroy() noexcept {
  if (reserved_ != nullptr) os_release(reserved_, reserved_bytes_);
  reserved_ = nullptr;
  map_.init(0, 0, nullptr);
}

void* Heap::take_metadata_locked(std::size_t bytes) noexcept {
  bytes = round_up(bytes, alignof(Page));
  if (bytes > metadata_end_ - metadata_next_) return nullptr;
  while (metadata_next_ + bytes > metadata_committed_) {
    // Dense and read at random, by frees and by every scan: where there is more of it than one huge page holds, it is
    // asked for in such pages.
    const bool is_huge = metadata_committed_ - metadata_begin_ >= kHugePageBytes;
    const std::size_t step =
        std::min(is_huge ? kHugePageBytes : kMetadataStepBytes, metadata_end_ - metadata_committed_);
    void* const at = reinterpret_cast<void*>(metadata_committed_);
    if (!os_commit(at, step)) return nullptr;
    if (is_huge) os_prefer_huge_pages(at, step);
    metadata_committed_ += step;
  }
  void* const block = reinterpret_cast<void*>(metadata_next_);
  metadata_next_ += bytes;
  return block;
}

ThreadCache* Heap::acquire_cache() noexcept {
  const std::scoped_lock guard(mutex_);
  if (ThreadCache* const idle = idle_caches_) {
    idle_caches_ = idle->next_idle;
    return idle;
  }
  void* const memory = take_metadata_locked(sizeof(ThreadCache));
  if (memory == nullptr) return nullptr;
  return new (memory) ThreadCache;
}

void Heap::release_cache(ThreadCache& cache) noexcept {
  cache.put_back_all();
  cache.drain_pending();
  while (Page* const empty = cache.surrender_empty_page()) release_page(*empty);
  const std::scoped_lock guard(mutex_);
  cache.next_idle = idle_caches_;
  idle_caches_ = &cache;
}

Page* Heap::new_page_locked(unsigned size_class, std::size_t page_count, std::size_t alignment, bool& zeroed) noexcept {
  const RunAllocator::Run run = runs_.take_locked(page_count, alignment);
  if (run.base == 0) return nullptr;
  Page* page = free_metadata_[size_class];
  if (page != nullptr) {
    free_metadata_[size_class] = page->next;
  } else {
    page = static_cast<Page*>(take_metadata_locked(page_metadata_bytes(size_class)));
  }
  if (page == nullptr || !map_.grow_locked(runs_.high_water())) {
    if (page != nullptr) {
      page->next = free_metadata_[size_class];
      free_metadata_[size_class] = page;
    }
    runs_.give_back_locked(run.base, page_count);
    return nullptr;
  }
  page_set_up(*page, size_class, run.base, static_cast<std::uint32_t>(page_count));
  zeroed = run.zeroed;
  return page;
}

void Heap::drop_page_locked(Page& page) noexcept {
  map_.clear_locked(&page);
  pages_dropped_.fetch_add(1, std::memory_order_relaxed);
  runs_.give_back_locked(page.base, page.page_count);
  Page*& list = keeps_descriptors_ ? kept_metadata_ : free_metadata_[page.size_class];
  page.next = list;
  list = &page;
}

void Heap::keep_descriptors_locked(bool keep) noexcept {
  keeps_descriptors_ = keep;
  while (!keep && kept_metadata_ != nullptr) {
    Page* const page = kept_metadata_;
    kept_metadata_ = page->next;
    page->next = free_metadata_[page->size_class];
    free_metadata_[page->size_class] = page;
  }
}

Page* Heap::fetch_page(ThreadCache& cache, unsigned size_class) noexcept {
  bool zeroed = false;
  Page* page = nullptr;
  {
    const std::scoped_lock guard(mutex_);
    for (ThreadCache* idle = idle_caches_; idle != nullptr; idle = idle->next_idle) {
      if (Page* const taken_over = idle->surrender_page_locked(size_class)) {
        // Release: whoever finds the page in a pending list and reads its new owner sees it as the old one left it.
        taken_over->owner.store(&cache, std::memory_order_release);
        return taken_over;
      }
    }
    page = new_page_locked(size_class, span_pages(size_class), kPageBytes, zeroed);
    if (page == nullptr) return nullptr;
    page->owner.store(&cache, std::memory_order_relaxed);  // published by the map
    map_.publish_locked(page);
  }
  // A class that grows will fill its pages: a fault for each OS page costs several times what all of them cost at once.
  // Objects larger than an OS page may never be touched as a whole.
  if (cache.count_fetch(size_class) > kFetchesBeforePopulating && zeroed && slot_bytes(size_class) <= kOsPageBytes) {
    os_populate(reinterpret_cast<void*>(page->base), page->page_count * kPageBytes);
  }
  return page;
}

void Heap::release_page(Page& page) noexcept {
  ARENA_AUDIT(page_is_valid(page, {}));
  const std::scoped_lock guard(mutex_);
  drop_page_locked(page);
}

Heap::Allocation Heap::allocate_slow(ThreadCache& cache, std::size_t bytes, std::size_t alignment, Birth birth,
                                     std::uint8_t flags) noexcept {
  const unsigned size_class = class_of_aligned(bytes, alignment);
  // An object far smaller than its slot (a small block with a large alignment) would not fit the slack array.
  if (size_class == kLargeClass || slot_bytes(size_class) - bytes > UINT16_MAX) {
    return allocate_large(bytes, std::max(alignment, kPageBytes), birth, flags);
  }
  for (;;) {
    if (void* const object = cache.take(size_class, bytes, birth)) {
      if (flags != 0) set_flags(object, flags);
      return {object, false};
    }
    Page* const page = fetch_page(cache, size_class);
    if (page == nullptr) return {};
    cache.adopt(*page);
  }
}

void Heap::set_flags(void* object, std::uint8_t flags) noexcept {
  const Located at = locate_live(object);
  if ((flags & state::kPolicyMask) != 0) {
    count_annotation();
    at.page->annotated.store(true, std::memory_order_relaxed);
  }
  at.page->states()[at.index].store(state::kAllocated | flags, std::memory_order_release);
}

Heap::Allocation Heap::allocate_large(std::size_t bytes, std::size_t alignment, Birth birth,
                                      std::uint8_t flags) noexcept {
  if (bytes > map_.range_bytes()) return {};
  const std::size_t page_count = std::max<std::size_t>(1, (bytes + kPageBytes - 1) >> kPageShift);
  Allocation result;
  Page* page = nullptr;
  {
    const std::scoped_lock guard(mutex_);
    page = new_page_locked(kLargeClass, page_count, alignment, result.zeroed);
    if (page == nullptr) return {};
    page->local->used = 1;
    page->local->free_bits()[0] = 0;
    page->large_bytes.store(bytes, std::memory_order_relaxed);
    if ((flags & state::kPolicyMask) != 0) count_annotation();
    page->annotated.store((flags & state::kPolicyMask) != 0, std::memory_order_relaxed);
    map_.publish_locked(page);
  }
  page_publish(*page, 0, {birth, 0}, flags);
  result.object = reinterpret_cast<void*>(page->base);
  return result;
}

void Heap::release(ThreadCache& cache, void* object) noexcept {
  const Located at = locate_live(object);
  if (at.page->owner.load(std::memory_order_relaxed) != &cache) {
    release_foreign(at);
    return;
  }
  page_free_local(*at.page, at.index);
  if (at.page->local->used != at.page->local->event) return;
  if (Page* const empty = cache.page_changed(*at.page)) release_page(*empty);
}

void Heap::hold(void* object) noexcept {
  const Located at = locate_live(object);
  auto& slot = at.page->states()[at.index];
  std::uint8_t seen = slot.load(std::memory_order_relaxed);
  // Of two threads that free the same object one gets through; the other reports.
  if (!state::is_allocated(seen) || !slot.compare_exchange_strong(seen, state::kHeld, std::memory_order_relaxed)) {
    report_double_free(*at.page, at.index);
  }
}

void Heap::release_held(ThreadCache* cache, void* object) noexcept {
  const Located at = locate(object);
  at.page->states()[at.index].store(state::kAllocated, std::memory_order_relaxed);
  if (cache != nullptr) {
    release(*cache, object);
  } else {
    release(object);
  }
}

void Heap::check_family(const void* object, std::uint8_t family) const noexcept {
  const Located at = locate_live(object);
  const std::uint8_t found = at.page->states()[at.index].load(std::memory_order_relaxed) & state::kFamilyMask;
  if (found == family) return;
  const auto name = [](std::uint8_t of) {
    return of == state::kByNew ? "operator new" : of == state::kByNewArray ? "operator new[]" : "malloc or its kin";
  };
  const char* const freed_by = family == state::kByNew        ? "operator delete"
                               : family == state::kByNewArray ? "operator delete[]"
                                                              : "free or realloc";
  report_mismatched_free(*at.page, at.index, name(found), freed_by);
}

void Heap::report_write_to_held(const void* object, std::size_t offset) const noexcept {
  const Located at = locate(object);
  report_write_after_free(*at.page, at.index, offset);
}

std::size_t Heap::held_bytes(const void* object) const noexcept {
  const Located at = locate(object);
  return at.page->requested_bytes(at.index);
}

void Heap::release_foreign(Located at) noexcept {
  Page& page = *at.page;
  if (page.is_large()) {
    release_large(page);
  } else if (page_free_remote(page, at.index)) {
    page.owner.load(std::memory_order_acquire)->push_pending(page);
  }
}

void Heap::release_large(Page& page) noexcept {
  // Of two threads that free the same object one gets through; the other reports.
  std::uint8_t seen = page.states()[0].load(std::memory_order_relaxed);
  if (!state::is_allocated(seen) ||
      !page.states()[0].compare_exchange_strong(seen, state::kFree, std::memory_order_relaxed)) {
    report_double_free(page, 0);
  }
  // A signal handler that interrupted its own thread in here cannot give the run back: it stays taken for good.
  if (Lock::is_in_lock()) return;
  const std::scoped_lock guard(mutex_);
  drop_page_locked(page);
}

bool Heap::resize_large(Page& page, std::size_t bytes) noexcept {
  const std::size_t wanted = (bytes + kPageBytes - 1) >> kPageShift;
  if (bytes <= kMaxSlotBytes || bytes < page.slot_bytes / 2 || bytes > map_.range_bytes()) return false;
  if (wanted > page.page_count) {
    const std::scoped_lock guard(mutex_);
    const std::size_t more = wanted - page.page_count;
    if (!runs_.take_at_locked(page.base + page.slot_bytes, more)) return false;
    if (!map_.grow_locked(runs_.high_water())) {
      runs_.give_back_locked(page.base + page.slot_bytes, more);
      return false;
    }
    page.page_count += static_cast<std::uint32_t>(more);
    page.slot_bytes += more * kPageBytes;
    map_.publish_locked(&page);
  }
  page.large_bytes.store(bytes, std::memory_order_relaxed);
  return true;
}

bool Heap::resize_in_place(void* object, std::size_t bytes, std::uint32_t stack) noexcept {
  const Located at = locate_live(object);
  Page& page = *at.page;
  std::uint16_t slack = 0;
  if (page.is_large()) {
    if (!resize_large(page, bytes)) return false;
  } else {
    if (bytes > page.slot_bytes || page.slot_bytes - bytes > UINT16_MAX || bytes < page.slot_bytes / 2) return false;
    slack = static_cast<std::uint16_t>(page.slot_bytes - bytes);
  }
  // By compare-and-swap, because the stamp may be aging.
  auto& record = page.records[at.index];
  std::uint64_t seen = record.load(std::memory_order_relaxed);
  std::uint64_t wanted = 0;
  do {
    wanted = Record{{stack, Record::unpack(seen).birth.stamp}, slack}.pack();
  } while (!record.compare_exchange_weak(seen, wanted, std::memory_order_relaxed));
  return true;
}

std::uint32_t Heap::advance_stamp_locked() noexcept {
  std::uint32_t next = stamp() + 1;
  if (static_cast<std::uint16_t>(next) == Birth::kOld) ++next;
  stamp_.store(next, std::memory_order_relaxed);
  return next;
}

void Heap::age_births_locked() noexcept {
  const std::uint32_t now = stamp();
  if (now - aged_at_ < Birth::kAgingInterval) return;
  aged_at_ = now;
  for_each_page_locked([now](Page& page) {
    for (std::uint32_t i = 0; i < page.capacity; ++i) {
      if (!state::is_allocated(page.states()[i].load(std::memory_order_acquire))) continue;
      std::uint64_t seen = page.records[i].load(std::memory_order_relaxed);
      Record record = Record::unpack(seen);
      if (record.birth.stamp == Birth::kOld || record.birth.age(now) < Birth::kOldestAge) continue;
      record.birth.stamp = Birth::kOld;
      // One that changes meanwhile is young.
      page.records[i].compare_exchange_strong(seen, record.pack(), std::memory_order_relaxed);
    }
  });
}

std::size_t Heap::requested_bytes(const void* object) const noexcept {
  const Located at = locate_live(object);
  return at.page->requested_bytes(at.index);
}

void Heap::report_unmapped(std::uintptr_t address) const noexcept {
  report_invalid_free(address, map_.contains(address) ? "freed already or never allocated" : "not of this heap");
}

void Heap::report_misuse(const Page& page, std::uint32_t index, std::uintptr_t address) noexcept {
  if (index >= page.capacity) report_invalid_free(address, "past the last block of its page");
  if (page.address_of(index) != address) report_interior_free(page, index, address);
  report_double_free(page, index);
}

std::size_t Heap::taken_bytes() noexcept {
  const std::scoped_lock guard(mutex_);
  return runs_.taken_pages() * kPageBytes;
}

bool Heap::is_valid() noexcept {
  const std::scoped_lock guard(mutex_);
  if (!runs_.is_valid_locked()) return false;
  std::size_t mapped = 0;
  bool valid = true;
  for_each_page_locked([&](const Page& page) {
    const ThreadCache* const owner = page.owner.load(std::memory_order_relaxed);
    valid =
        valid && map_.find(page.base) == &page && map_.find(page.base + page.slot_bytes * page.capacity - 1) == &page;
    valid = valid && page_is_valid(page, owner == nullptr ? GrabbedSlots{} : owner->grabbed(page));
    valid = valid && (owner == nullptr || page.is_large() || owner->is_valid(page));
    mapped += page.page_count;
  });
  return valid && mapped == runs_.taken_pages();
}

}  // namespace arenascan::alloc
