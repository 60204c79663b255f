// Which leaks a scan counts: by age, by how often they were seen, and not those that were forgotten. And what is told
// of an object afterwards.
#include "scan/scanner.h"

#include <doctest/doctest.h>

#include <cstring>

#include "alloc/heap.h"

using namespace arenascan;

namespace {

using Standing = scan::Description::Standing;

constexpr std::size_t kBytes = 64;

class Lab {
 public:
  Lab() {
    REQUIRE(heap_.init(std::size_t{1} << 30));
    REQUIRE((cache_ = heap_.acquire_cache()) != nullptr);
    const auto root = reinterpret_cast<std::uintptr_t>(&root_);
    REQUIRE(roots_.add({root, root + sizeof(root_)}));
  }
  ~Lab() { heap_.destroy(); }
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  void* make(void* holds = nullptr, alloc::StackId stack = 0) {
    void* const object = heap_.allocate(*cache_, kBytes, heap_.birth(stack));
    REQUIRE(object != nullptr);
    std::memset(object, 0, kBytes);
    std::memcpy(object, &holds, sizeof(holds));
    return object;
  }
  void hold(void* object) { root_ = object; }
  void release(void* object) { heap_.release(*cache_, object); }

  scan::Verdict scan(std::uint32_t born_before = 0, std::uint16_t min_unref_scans = 1) {
    scan::ScanSettings settings;
    settings.born_before = born_before;
    settings.min_unref_scans = min_unref_scans;
    scan::Verdict verdict;
    scanner_.scan(settings, verdict);
    CHECK(verdict.incomplete == scan::Incomplete::kNo);
    return verdict;
  }
  scan::Scanner& scanner() { return scanner_; }
  Standing standing(void* object) {
    scan::Description known;
    CHECK(scanner_.describe(reinterpret_cast<std::uintptr_t>(object), known));
    return known.standing;
  }

 private:
  alloc::Heap heap_;
  scan::UserRoots roots_;
  alloc::ThreadCache* cache_ = nullptr;
  void* root_ = nullptr;
  scan::Scanner scanner_{heap_, roots_, nullptr};
};

std::uint64_t leaked(const scan::Verdict& verdict) { return verdict.direct.objects + verdict.indirect.objects; }

}  // namespace

TEST_CASE("young objects wait for a later scan, and are new then") {
  Lab lab;
  lab.make();
  const std::uint32_t first = lab.scanner().mark_time();
  lab.make();
  lab.make();
  const std::uint32_t second = lab.scanner().mark_time();
  for (int i = 0; i < 2; ++i) {
    const scan::Verdict verdict = lab.scan(first);
    CHECK(leaked(verdict) == 1);
    CHECK(verdict.fresh.objects == (i == 0 ? 1 : 0));
    CHECK(verdict.orphans.objects == 3);
  }
  scan::Verdict verdict = lab.scan(second);
  CHECK(leaked(verdict) == 3);
  CHECK(verdict.fresh.objects == 2);
  lab.make();
  CHECK(leaked(lab.scan(second)) == 3);
  verdict = lab.scan();
  CHECK(leaked(verdict) == 4);
  CHECK(verdict.fresh.objects == 1);
  CHECK(verdict.recovered.objects == 0);
}

TEST_CASE("a leak may have to be seen several times in a row") {
  Lab lab;
  void* const object = lab.make();
  CHECK(leaked(lab.scan(0, 3)) == 0);
  CHECK(leaked(lab.scan(0, 3)) == 0);
  lab.hold(object);
  CHECK(leaked(lab.scan(0, 3)) == 0);
  lab.hold(nullptr);
  CHECK(leaked(lab.scan(0, 3)) == 0);
  CHECK(leaked(lab.scan(0, 3)) == 0);
  const scan::Verdict verdict = lab.scan(0, 3);
  CHECK(leaked(verdict) == 1);
  CHECK(verdict.fresh.objects == 1);
  CHECK(lab.scan(0, 3).fresh.objects == 0);
}

TEST_CASE("leaks that were forgotten are none any more, nor what they come to hold") {
  Lab lab;
  void* const head = lab.make(lab.make());
  CHECK(leaked(lab.scan()) == 2);
  void* const late = lab.make();
  lab.scanner().forget_leaks();
  scan::Verdict verdict = lab.scan();
  CHECK(leaked(verdict) == 1);
  CHECK(verdict.fresh.objects == 1);
  CHECK(verdict.recovered.objects == 0);
  std::memcpy(head, &late, sizeof(late));
  verdict = lab.scan();
  CHECK(leaked(verdict) == 0);
  CHECK(verdict.recovered.objects == 1);
  // A new object in a forgotten one's place is another.
  lab.release(late);
  CHECK(leaked(lab.scan()) == 0);
  lab.make();
  CHECK(leaked(lab.scan()) == 1);
}

TEST_CASE("what the last scan made of an object is told until a leak is forgotten") {
  Lab lab;
  void* const held = lab.make();
  lab.hold(held);
  void* const lost = lab.make();
  CHECK(lab.standing(lost) == Standing::kNeverScanned);
  lab.scan();
  CHECK(lab.standing(held) == Standing::kReached);
  CHECK(lab.standing(lost) == Standing::kLeaked);
  CHECK(lab.standing(lab.make()) == Standing::kBornLater);
  lab.scanner().forget_leaks();
  CHECK(lab.standing(held) == Standing::kReached);
  CHECK(lab.standing(lost) == Standing::kForgotten);
}

TEST_CASE("a suppressed leak, and what it holds, is told as such, also when others are forgotten") {
  Lab lab;
  constexpr alloc::StackId kCovered = 7;
  void* const held = lab.make();
  void* const covered = lab.make(held, kCovered);
  void* const lost = lab.make();
  scan::ScanSettings settings;
  settings.is_suppressed = [](alloc::StackId stack, void*) { return stack == kCovered; };
  scan::Verdict verdict;
  lab.scanner().scan(settings, verdict);
  CHECK(verdict.suppressed.objects == 2);
  lab.scanner().forget_leaks();
  CHECK(lab.standing(covered) == Standing::kSuppressed);
  CHECK(lab.standing(held) == Standing::kSuppressed);
  CHECK(lab.standing(lost) == Standing::kForgotten);
}

TEST_CASE("a scan so many marks ago that births are no longer told apart is not guessed about") {
  Lab lab;
  void* const held = lab.make();
  lab.hold(held);
  lab.scan();
  void* const later = lab.make();
  std::uint32_t marks = 0;
  for (; marks + 1 < alloc::Birth::kOldestAge; ++marks) lab.scanner().mark_time();
  CHECK(lab.standing(held) == Standing::kReached);
  CHECK(lab.standing(later) == Standing::kBornLater);
  for (; marks < alloc::Birth::kOldestAge + 10; ++marks) lab.scanner().mark_time();
  CHECK(lab.standing(held) == Standing::kLongAgo);
  CHECK(lab.standing(later) == Standing::kLongAgo);
  CHECK(lab.standing(lab.make()) == Standing::kBornLater);
}
