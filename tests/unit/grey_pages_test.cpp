// Pages with grey objects against a model that keeps all of them in a map: none is lost, none comes twice, and while a
// page is nearly full of them, such a page comes next. ARENA_MODEL_ROUNDS sets how long.
#include "scan/grey_pages.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <vector>

#include "alloc/heap.h"
#include "alloc/heap_view.h"
#include "tests/unit/random.h"

using namespace arenascan;
using scan::GreyPages;

namespace {

class Fixture {
 public:
  Fixture() {
    REQUIRE(heap_.init(std::size_t{1} << 30));
    REQUIRE((cache_ = heap_.acquire_cache()) != nullptr);
    for (const std::size_t bytes : {16, 48, 300, 3'000, 30'000, 500'000}) {
      for (std::size_t total = 0; total < 800'000; total += bytes) add(heap_.allocate(*cache_, bytes, heap_.birth(0)));
    }
    REQUIRE(grey.reserve(view.range().bytes >> alloc::kPageShift));
    grey.begin(view);
  }
  ~Fixture() { heap_.destroy(); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  [[nodiscard]] std::size_t random_page() { return pages_[random.below(pages_.size())]; }
  [[nodiscard]] std::uint32_t capacity(std::size_t page) const { return view.page_numbered(page)->capacity; }

  void turn_grey(std::size_t page, std::uint32_t index) {
    GreyPages::Adder adder(grey);
    const bool is_new = model[page].insert(index).second;
    adder.add_if(is_new, page, index);
    if (!is_new) return;
    adder.add_if(false, random_page(), 0);
  }
  void turn_grey_at_random() {
    const std::size_t page = random_page();
    const std::uint32_t slots = capacity(page);
    const std::uint32_t first = static_cast<std::uint32_t>(random.below(slots));
    const std::uint32_t count = static_cast<std::uint32_t>(1 + random.below(random.below(3) == 0 ? slots : 4));
    for (std::uint32_t i = 0; i < count; ++i) turn_grey(page, (first + i) % slots);
  }

  [[nodiscard]] bool is_nearly_full(std::size_t page) const {
    const auto at = model.find(page);
    return at != model.end() && at->second.size() * 4 >= std::size_t{capacity(page)} * 3;
  }
  [[nodiscard]] bool any_is_nearly_full() const {
    for (const auto& [page, slots] : model) {
      if (is_nearly_full(page)) return true;
    }
    return false;
  }

  void check(const GreyPages::Waiting& waiting) {
    const auto at = model.find(waiting.page);
    REQUIRE(at != model.end());
    std::uint64_t groups = 0;
    for (const std::uint32_t slot : at->second) groups |= std::uint64_t{1} << (slot >> GreyPages::kGroupShift);
    CHECK(waiting.groups == groups);
    CHECK((waiting.spare < 0) == is_nearly_full(waiting.page));
    model.erase(at);
  }

  GreyPages grey;
  std::map<std::size_t, std::set<std::uint32_t>> model;  // page number, slots
  alloc::Heap heap_;
  alloc::HeapView view{heap_};
  test::Random random{11};

 private:
  void add(void* object) {
    const alloc::Page* const page = view.page_of(reinterpret_cast<std::uintptr_t>(object));
    REQUIRE(page != nullptr);
    const std::size_t number = view.number_of(*page);
    if (pages_.empty() || pages_.back() != number) pages_.push_back(number);
  }

  alloc::ThreadCache* cache_ = nullptr;
  std::vector<std::size_t> pages_;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "every grey object comes up once, those of nearly full pages first") {
  for (std::uint64_t left = test::length_from("ARENA_MODEL_ROUNDS", 20'000); left != 0; --left) {
    for (std::size_t i = random.below(8); i != 0; --i) turn_grey_at_random();
    for (std::size_t i = random.below(8); i != 0 && !grey.empty(); --i) {
      const bool is_full = any_is_nearly_full();
      const GreyPages::Waiting next = grey.pop();
      CHECK((next.spare < 0) == is_full);
      check(next);
    }
    REQUIRE(grey.size() == model.size());
  }
  while (!grey.empty()) check(grey.pop());
  CHECK(model.empty());
}

TEST_CASE_FIXTURE(Fixture, "a nearly full page that follows the last one comes before all others") {
  const std::size_t first = view.number_of(*view.page_numbered(0)) + 3;
  for (const std::size_t page : {first, first + 4, first + 1, first + 2}) {
    for (std::uint32_t index = 0; index < capacity(page); ++index) turn_grey(page, index);
  }
  for (const std::size_t page : {first, first + 1, first + 2, first + 4}) CHECK(grey.pop().page == page);
  CHECK(grey.empty());
}

TEST_CASE_FIXTURE(Fixture, "pages move from one to the other with what they hold and how full they are") {
  GreyPages other;
  REQUIRE(other.reserve(view.range().bytes >> alloc::kPageShift));
  other.begin(view);
  for (int round = 0; round < 500; ++round) {
    for (std::size_t i = random.below(40); i != 0; --i) turn_grey_at_random();
    grey.take_all([&](const GreyPages::Waiting& waiting) { (random.below(2) == 0 ? grey : other).add(waiting); });
    other.take_all([&](const GreyPages::Waiting& waiting) { grey.add(waiting); });
    for (std::size_t i = random.below(20); i != 0 && !grey.empty(); --i) check(grey.pop());
    REQUIRE(other.empty());
    REQUIRE(grey.size() == model.size());
  }
  grey.begin(view);
  CHECK(grey.empty());
}
