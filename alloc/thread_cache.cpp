#include "alloc/thread_cache.h"

#include "alloc/check.h"

namespace arenascan::alloc {
namespace {

// A full page is left alone until an eighth of its slots are free: changing pages and words costs more than taking a
// slot.
std::uint32_t event_when_full(const Page& page) noexcept { return page.capacity - page.capacity / 8; }
static_assert(kMinSpanSlots >= 8);

}  // namespace

void ThreadCache::list(Page& page) noexcept {
  PageList& pages = partial_[page.size_class];
  page.listed = true;
  page.next = nullptr;
  page.prev = pages.youngest;
  (pages.youngest != nullptr ? pages.youngest->next : pages.oldest) = &page;
  pages.youngest = &page;
}

void ThreadCache::unlist(Page& page) noexcept {
  PageList& pages = partial_[page.size_class];
  (page.prev != nullptr ? page.prev->next : pages.oldest) = page.next;
  (page.next != nullptr ? page.next->prev : pages.youngest) = page.prev;
  page.listed = false;
}

bool ThreadCache::advance(Cursor& cursor) noexcept {
  Page& page = *cursor.page;
  const GrabbedSlots slots = page_grab(page);
  if (slots.bits == 0) return false;
  cursor.bits = slots.bits;
  cursor.first = slots.first;
  cursor.base = page.address_of(slots.first);
  cursor.slot_bytes = page.slot_bytes;
  cursor.records = page.records + slots.first;
  cursor.states = page.states() + slots.first;
  return true;
}

bool ThreadCache::refill(unsigned size_class) noexcept {
  Cursor& cursor = cursors_[size_class];
  if (cursor.page != nullptr) {
    if (advance(cursor)) return true;
    cursor.page->local->event = event_when_full(*cursor.page);
    cursor.page = nullptr;
  }
  drain_pending();
  Page* const page = partial_[size_class].oldest;
  if (page == nullptr) return false;
  unlist(*page);
  adopt(*page);
  return true;
}

void ThreadCache::adopt(Page& page) noexcept {
  Cursor& cursor = cursors_[page.size_class];
  page.local->event = 0;
  cursor.page = &page;
  ARENA_CHECK(advance(cursor));
}

Page* ThreadCache::page_changed(Page& page) noexcept {
  if (page.local->event != 0) {  // it was full: its slots can be taken again
    page.local->event = 0;
    list(page);
  }
  if (page.local->used != 0 || cursors_[page.size_class].page == &page) return nullptr;
  // Empty. One empty page a class stays for the next burst.
  const PageList& pages = partial_[page.size_class];
  if (pages.oldest == pages.youngest) return nullptr;
  unlist(page);
  return &page;
}

void ThreadCache::push_pending(Page& page) noexcept {
  Page* head = pending_.load(std::memory_order_relaxed);
  do {
    page.remote->next_pending = head;
  } while (!pending_.compare_exchange_weak(head, &page, std::memory_order_release, std::memory_order_relaxed));
}

void ThreadCache::drain_pending() noexcept {
  if (pending_.load(std::memory_order_relaxed) == nullptr) return;
  Page* page = pending_.exchange(nullptr, std::memory_order_acquire);
  while (page != nullptr) {
    Page* const next = page->remote->next_pending;
    ThreadCache* const owner = page->owner.load(std::memory_order_acquire);
    if (owner != this) {
      owner->push_pending(*page);  // it changed hands while it waited here
    } else if (!page_drain_remote(*page)) {
      push_pending(*page);
    } else if (page->local->event != 0 && page->local->used <= page->local->event) {
      page->local->event = 0;
      list(*page);
    }
    page = next;
  }
}

void ThreadCache::put_back_all() noexcept {
  for (Cursor& cursor : cursors_) {
    if (cursor.page == nullptr) continue;
    page_put_back(*cursor.page, {cursor.bits, cursor.first});
    if (cursor.page->local->used < cursor.page->capacity) {
      list(*cursor.page);
    } else {
      cursor.page->local->event = event_when_full(*cursor.page);
    }
    cursor = {};
  }
}

Page* ThreadCache::surrender_page_locked(unsigned size_class) noexcept {
  drain_pending();
  Page* const page = partial_[size_class].oldest;
  if (page != nullptr) unlist(*page);
  return page;
}

Page* ThreadCache::surrender_empty_page() noexcept {
  for (const PageList& pages : partial_) {
    for (Page* page = pages.oldest; page != nullptr; page = page->next) {
      if (page->local->used != 0) continue;
      unlist(*page);
      return page;
    }
  }
  return nullptr;
}

bool ThreadCache::is_valid(const Page& page) const noexcept {
  const bool is_current = cursors_[page.size_class].page == &page;
  if (is_current) return !page.listed && page.local->event == 0;
  if (!page.listed) return page.local->event == event_when_full(page) && page.local->used > page.local->event;
  const PageList& pages = partial_[page.size_class];
  return page.local->event == 0 && &page == (page.prev == nullptr ? pages.oldest : page.prev->next) &&
         &page == (page.next == nullptr ? pages.youngest : page.next->prev);
}

GrabbedSlots ThreadCache::grabbed(const Page& page) const noexcept {
  if (page.is_large()) return {};
  const Cursor& cursor = cursors_[page.size_class];
  return cursor.page == &page ? GrabbedSlots{cursor.bits, cursor.first} : GrabbedSlots{};
}

}  // namespace arenascan::alloc
