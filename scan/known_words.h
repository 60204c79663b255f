// What OS pages full of pointers held when a mark last read them.
//
// A program that changes a large hash table writes a pointer here and there, and each write tells only that an OS page
// was written: 512 words, most of which were looked up before and lead to objects that are black. Looking them all up
// again takes 5 us a page, in a pause, and the table's pages are written faster than that. With a copy beside it, a
// page takes a comparison, and only words that differ are looked up.
//
// A word is known if it was looked up in this mark and what it points to was marked: what is marked stays so, also when
// the object is freed and another born in its place. It does not when its page is given back and another set up there,
// with colours of its own; so the marker forgets all copies when a page was given back. Words that led nowhere are kept
// as 0, and so looked up again: an object may have been born there.
//
// Only pages that were written during a mark and hold many pointers get a copy, up to a limit; the memory is given back
// after the mark.
//
// Threads: the scanner's. Called by: marker.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/meta_vector.h"

namespace arenascan::scan {

class KnownWords {
 public:
  KnownWords() = default;
  ~KnownWords() { clear(); }
  KnownWords(const KnownWords&) = delete;
  KnownWords& operator=(const KnownWords&) = delete;

  // Forgets all.
  void clear() noexcept;

  // The words known of the OS page at this address, which begin with zeros; null: it has no copy.
  [[nodiscard]] std::uintptr_t* find(std::uintptr_t os_page) const noexcept;

  // Gives the page one. Null: there are `limit` already, or no memory. It must have none.
  std::uintptr_t* add(std::uintptr_t os_page, std::size_t limit) noexcept;

 private:
  struct Entry {
    std::uintptr_t page;  // 0: free
    std::uintptr_t* words;
  };
  [[nodiscard]] bool grow() noexcept;
  [[nodiscard]] Entry& place_of(std::uintptr_t os_page) const noexcept;

  alloc::MetaVector<Entry> table_;  // open addressing, at most half full; a power of two
  std::size_t count_ = 0;
  alloc::MetaVector<void*> chunks_;
  std::uintptr_t* next_ = nullptr;  // unused rest of the last chunk
  std::uintptr_t* end_ = nullptr;
};

}  // namespace arenascan::scan
