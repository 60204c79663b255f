#include "alloc/thread_cache.h"

namespace arenascan::alloc {
namespace {

// Stands in for a current page where there is none: it never has a free slot, and nobody writes to it.
std::uint64_t g_no_bits = 0;
constinit Page g_no_page{.free_word = &g_no_bits};

}  // namespace

ThreadCache::ThreadCache() noexcept {
  for (Page*& page : current_) page = &g_no_page;
}

void ThreadCache::list(Page& page) noexcept {
  Page*& head = partial_[page.size_class];
  page.listed = true;
  page.prev = nullptr;
  page.next = head;
  if (head != nullptr) head->prev = &page;
  head = &page;
}

void ThreadCache::unlist(Page& page) noexcept {
  if (page.prev != nullptr) {
    page.prev->next = page.next;
  } else {
    partial_[page.size_class] = page.next;
  }
  if (page.next != nullptr) page.next->prev = page.prev;
  page.listed = false;
}

bool ThreadCache::refill(unsigned size_class) noexcept {
  Page* const exhausted = current_[size_class];
  if (exhausted != &g_no_page) {
    if (page_advance(*exhausted)) return true;
    note_full(*exhausted);
    current_[size_class] = &g_no_page;
  }
  drain_pending();
  Page* const page = partial_[size_class];
  if (page == nullptr) return false;
  unlist(*page);
  adopt(*page);
  return true;
}

void ThreadCache::adopt(Page& page) noexcept {
  page.event = 0;
  current_[page.size_class] = &page;
  if (*page.free_word == 0) page_advance(page);
}

Page* ThreadCache::page_changed(Page& page) noexcept {
  if (page.event != 0) {  // it was full: its slots can be taken again
    page.event = 0;
    list(page);
  }
  if (page.used != 0 || is_current(page)) return nullptr;
  // Empty. One empty page a class stays for the next burst.
  if (partial_[page.size_class] == &page && page.next == nullptr) return nullptr;
  unlist(page);
  return &page;
}

void ThreadCache::push_pending(Page& page) noexcept {
  Page* head = pending_.load(std::memory_order_relaxed);
  do {
    page.next_pending = head;
  } while (!pending_.compare_exchange_weak(head, &page, std::memory_order_release, std::memory_order_relaxed));
}

void ThreadCache::drain_pending() noexcept {
  if (pending_.load(std::memory_order_relaxed) == nullptr) return;
  Page* page = pending_.exchange(nullptr, std::memory_order_acquire);
  while (page != nullptr) {
    Page* const next = page->next_pending;
    ThreadCache* const owner = page->owner.load(std::memory_order_acquire);
    if (owner != this) {
      owner->push_pending(*page);  // it changed hands while it waited here
    } else if (!page_drain_remote(*page)) {
      push_pending(*page);
    } else if (page->event != 0 && page->used < page->capacity) {
      page->event = 0;
      list(*page);
    }
    page = next;
  }
}

Page* ThreadCache::surrender_page_locked(unsigned size_class) noexcept {
  drain_pending();
  Page* page = partial_[size_class];
  if (page != nullptr) {
    unlist(*page);
    return page;
  }
  page = current_[size_class];
  if (page == &g_no_page || (*page->free_word == 0 && !page_advance(*page))) return nullptr;
  current_[size_class] = &g_no_page;
  return page;
}

Page* ThreadCache::surrender_empty_page() noexcept {
  for (unsigned c = 0; c < kClassCount; ++c) {
    for (Page* page = partial_[c]; page != nullptr; page = page->next) {
      if (page->used != 0) continue;
      unlist(*page);
      return page;
    }
    Page* const page = current_[c];
    if (page != &g_no_page && page->used == 0) {
      current_[c] = &g_no_page;
      return page;
    }
  }
  return nullptr;
}

}  // namespace arenascan::alloc
