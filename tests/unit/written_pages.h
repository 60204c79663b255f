// Which pages of a range the kernel tells to have been written since they were protected.
#pragma once

#include <doctest/doctest.h>

#include <set>
#include <utility>

#include "alloc/os.h"
#include "scan/pagemap.h"

namespace arenascan::test {

// Collects runs as numbers of pages from `begin` on; they have to come in order of addresses.
struct WrittenPages {
  std::uintptr_t begin;
  std::set<std::size_t> pages;
  std::uintptr_t last = 0;

  static void add(scan::AddressRange run, void* written_pages) {
    auto& to = *static_cast<WrittenPages*>(written_pages);
    CHECK(run.begin >= std::exchange(to.last, run.end));
    for (std::uintptr_t at = run.begin; at < run.end; at += alloc::kOsPageBytes) {
      to.pages.insert((at - to.begin) / alloc::kOsPageBytes);
    }
  }
};

inline std::set<std::size_t> written_pages(const scan::Pagemap& pagemap, scan::AddressRange range, bool protect_again) {
  WrittenPages found{range.begin, {}};
  REQUIRE(pagemap.for_each_written_run(range, protect_again, WrittenPages::add, &found));
  return found.pages;
}

}  // namespace arenascan::test
