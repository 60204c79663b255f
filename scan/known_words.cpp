#include "scan/known_words.h"

#include <cstring>
#include <utility>

#include "alloc/meta_alloc.h"
#include "alloc/os.h"

namespace arenascan::scan {

namespace {

constexpr std::size_t kPagesOfChunk = 64;
constexpr std::size_t kWordsOfPage = alloc::kOsPageBytes / sizeof(std::uintptr_t);
constexpr std::size_t kFirstTable = 1024;

}  // namespace

void KnownWords::clear() noexcept {
  for (void* const chunk : chunks_) alloc::meta_free(chunk);
  chunks_ = {};
  table_ = {};
  count_ = 0;
  next_ = end_ = nullptr;
}

KnownWords::Entry& KnownWords::place_of(std::uintptr_t os_page) const noexcept {
  const std::size_t mask = table_.size() - 1;
  std::size_t at = (os_page / alloc::kOsPageBytes * 0x9E3779B97F4A7C15U >> 32) & mask;
  while (table_[at].page != 0 && table_[at].page != os_page) at = (at + 1) & mask;
  return const_cast<Entry&>(table_[at]);
}

std::uintptr_t* KnownWords::find(std::uintptr_t os_page) const noexcept {
  return count_ == 0 ? nullptr : place_of(os_page).words;
}

bool KnownWords::grow() noexcept {
  KnownWords larger;
  if (!larger.table_.resize(table_.empty() ? kFirstTable : 2 * table_.size())) return false;
  for (const Entry& entry : table_) {
    if (entry.page != 0) larger.place_of(entry.page) = entry;
  }
  table_.swap(larger.table_);
  return true;
}

std::uintptr_t* KnownWords::add(std::uintptr_t os_page, std::size_t limit) noexcept {
  if (count_ >= limit || (2 * (count_ + 1) > table_.size() && !grow())) return nullptr;
  if (next_ == end_) {
    void* const chunk = alloc::meta_allocate(kPagesOfChunk * alloc::kOsPageBytes);
    if (chunk == nullptr) return nullptr;
    if (!chunks_.push_back(chunk)) {
      alloc::meta_free(chunk);
      return nullptr;
    }
    next_ = static_cast<std::uintptr_t*>(chunk);
    end_ = next_ + kPagesOfChunk * kWordsOfPage;
  }
  std::uintptr_t* const words = std::exchange(next_, next_ + kWordsOfPage);
  std::memset(words, 0, alloc::kOsPageBytes);
  place_of(os_page) = {os_page, words};
  ++count_;
  return words;
}

}  // namespace arenascan::scan
