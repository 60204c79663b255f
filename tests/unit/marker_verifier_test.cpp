// The marker against a verifier that shares nothing with it: a list of the live objects, and a breadth-first search
// that finds the object for a word by looking through that list. Random heaps, in both ways of a mark:
//
//   stopped      every object is black if the verifier reaches it, white if it does not
//   beside       objects are allocated, freed and rewired between any two steps of the marker, and the OS pages that
//                were written since the protection are told to it, as mark_cycle.h has it. At the end whatever the
//                verifier reaches is black, and what was lost before the mark began is white.
//
//   copied       the same with copies of the pages that are reread
//   shared       the stopped and the plain one beside, while up to eight lanes share what there is, from the first page
//   on
//
// ARENA_MODEL_GRAPHS sets the number of heaps.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "alloc/heap.h"
#include "scan/marker.h"
#include "tests/unit/random.h"

using namespace arenascan;
using test::Random;

namespace {

constexpr std::uintptr_t kOsPage = 4096;

class World {
 public:
  explicit World(Random& random) : random_(random), view_(heap_), marker_(view_) {
    REQUIRE(heap_.init(std::size_t{1} << 30));
    REQUIRE((cache_ = heap_.acquire_cache()) != nullptr);
  }
  ~World() {
    marker_.dismiss_helpers();
    heap_.destroy();
  }

  // From the first pointer on.
  void copy_pages() { marker_.set_many_pointers(1); }

  void share() { marker_.set_lanes(2 + random_.below(scan::kMostLanes - 1), 1); }

  void mark_stopped() {
    mutate(20);
    begin();
    mark_roots();
    marker_.drain();
    const std::vector<bool> reached = verify();
    for (std::size_t i = 0; i < objects_.size(); ++i) REQUIRE(is_black(objects_[i]) == reached[i]);
  }

  void mark_beside() {
    mutate(20);
    const std::vector<bool> before = verify();
    std::vector<std::uintptr_t> lost;
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (!before[i]) lost.push_back(objects_[i].address);
    }
    keep_ = std::set<std::uintptr_t>(lost.begin(), lost.end());
    view_.keep_descriptors_locked(true);
    begin();
    mark_roots();
    drain_beside();
    protect_and_reread();
    mutate(random_.below(6));
    drain_beside();
    for (std::uint64_t round = random_.below(5); round > 0; --round) {
      reread_written();
      drain_beside();
    }
    mutate(random_.below(6));
    {
      view_.lock();
      REQUIRE(marker_.knows_all_locked());
      view_.unlock();
    }
    mark_roots();
    reread_written();
    marker_.drain();
    const std::vector<bool> reached = verify();
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (reached[i]) REQUIRE(is_black(objects_[i]));
    }
    for (const std::uintptr_t address : lost) REQUIRE(!is_black({address, 0}));
    keep_.clear();
    view_.keep_descriptors_locked(false);
  }

 private:
  struct Live {
    std::uintptr_t address;
    std::size_t bytes;
  };

  void begin() {
    view_.lock();
    REQUIRE(marker_.begin_locked());
    view_.unlock();
  }
  void mark_roots() {
    const auto first = reinterpret_cast<std::uintptr_t>(roots_.data());
    marker_.mark_range({first, first + sizeof(roots_)});
  }
  // A step of the marker, a step of the program, until the marker has nothing left.
  void drain_beside() {
    while (random_.one_in(2) ? marker_.step() : !marker_.drain_until(0)) mutate(random_.below(3));
  }
  // Piece by piece, of any size, while the program goes on. Pages of pieces to come are not protected yet: what is
  // written there is not listed.
  void protect_and_reread() {
    view_.lock();
    const auto in_use = view_.in_use_locked();
    view_.unlock();
    const std::uintptr_t end = in_use.begin + in_use.bytes;
    for (std::uintptr_t at = in_use.begin; at < end;) {
      const std::uintptr_t next = std::min(end, at + (1 + random_.below(8)) * alloc::kPageBytes);
      written_.erase(written_.lower_bound(at), written_.lower_bound(next));
      marker_.reread_all({at, next});
      mutate(random_.below(3));
      at = next;
    }
  }

  void reread_written() {
    const std::set<std::uintptr_t> pages = std::move(written_);
    written_.clear();
    const auto time = random_.one_in(2) ? scan::Marker::Time::kShort : scan::Marker::Time::kToSpare;
    for (const std::uintptr_t page : pages) marker_.reread({page, page + kOsPage}, time);
  }

  [[nodiscard]] bool is_black(const Live& live) const {
    alloc::Object object;
    REQUIRE(view_.find(live.address, object));
    return object.mark().load() == marker_.epoch().black();
  }

  // What was lost before the mark is nobody's any more: a program cannot find it, so it cannot free or hold it.
  [[nodiscard]] bool is_lost(std::size_t i) const { return keep_.count(objects_[i].address) != 0; }

  void store(std::uintptr_t at, std::uintptr_t value) {
    std::memcpy(reinterpret_cast<void*>(at), &value, sizeof(value));
    written_.insert(at & ~(kOsPage - 1));
  }

  void mutate(std::uint64_t steps) {
    for (; steps > 0; --steps) {
      const std::uint64_t what = random_.below(10);
      const std::size_t i = objects_.empty() ? 0 : random_.below(objects_.size());
      if (objects_.size() < 5 || what < 3) {
        allocate();
      } else if (what == 3 && !is_lost(i)) {
        forget(objects_[i]);
        heap_.release(*cache_, reinterpret_cast<void*>(objects_[i].address));
        objects_.erase(objects_.begin() + static_cast<std::ptrdiff_t>(i));
      } else if (what < 6) {
        roots_[random_.below(roots_.size())] = random_.one_in(3) ? 0 : pointer();
      } else if (!is_lost(i) && objects_[i].bytes >= sizeof(std::uintptr_t)) {
        const std::size_t words = objects_[i].bytes / sizeof(std::uintptr_t);
        const std::size_t word = random_.one_in(3) ? words - 1 : random_.below(words);
        store(objects_[i].address + word * sizeof(std::uintptr_t), random_.one_in(4) ? 0 : pointer());
      }
    }
  }

  // Takes all pointers to an object back. One that stayed would point to whatever comes to lie there later, which to
  // the verifier is as good as any pointer; but no program can have come by it, and a mark need not see it.
  void forget(const Live& gone) {
    const auto points_there = [&](std::uintptr_t word) {
      return word >= gone.address && word < gone.address + std::max<std::size_t>(gone.bytes, 1);
    };
    for (std::uintptr_t& root : roots_) {
      if (points_there(root)) root = 0;
    }
    for (const Live& live : objects_) {
      const auto* const words = reinterpret_cast<const std::uintptr_t*>(live.address);
      for (std::size_t w = 0; w < live.bytes / sizeof(*words); ++w) {
        if (points_there(words[w])) store(live.address + w * sizeof(*words), 0);
      }
    }
  }

  // A pointer that the program may come by: to any object that was not lost.
  std::uintptr_t pointer() {
    for (int tries = 0; tries < 8; ++tries) {
      const std::size_t i = random_.below(objects_.size());
      if (is_lost(i)) continue;
      const Live& to = objects_[i];
      return to.address + (to.bytes < 2 || random_.one_in(2) ? 0 : random_.below(to.bytes));
    }
    return 0;
  }

  void allocate() {
    const std::size_t bytes = random_.one_in(15)  ? 100'000 + random_.below(100'000)
                              : random_.one_in(3) ? random_.below(3000)
                                                  : random_.below(120);
    void* const p = heap_.allocate(*cache_, bytes, heap_.birth(0));
    REQUIRE(p != nullptr);
    std::memset(p, 0, bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    for (std::uintptr_t page = address & ~(kOsPage - 1); page < address + bytes; page += kOsPage) written_.insert(page);
    objects_.push_back({address, bytes});
    if (random_.one_in(2)) roots_[random_.below(roots_.size())] = address;
  }

  // The object whose bytes a word points to, by looking at each.
  [[nodiscard]] std::size_t find(std::uintptr_t word) const {
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (word == objects_[i].address ||
          (word > objects_[i].address && word < objects_[i].address + objects_[i].bytes)) {
        return i;
      }
    }
    return objects_.size();
  }

  [[nodiscard]] std::vector<bool> verify() const {
    std::vector<bool> reached(objects_.size(), false);
    std::vector<std::size_t> from;
    const auto visit = [&](std::uintptr_t word) {
      const std::size_t i = find(word);
      if (i == objects_.size() || reached[i]) return;
      reached[i] = true;
      from.push_back(i);
    };
    for (const std::uintptr_t word : roots_) visit(word);
    while (!from.empty()) {
      const Live live = objects_[from.back()];
      from.pop_back();
      const auto* const words = reinterpret_cast<const std::uintptr_t*>(live.address);
      for (std::size_t w = 0; w < live.bytes / sizeof(*words); ++w) {
        if (words[w] != 0) visit(words[w]);
      }
    }
    return reached;
  }

  Random& random_;
  alloc::Heap heap_;
  alloc::HeapView view_;
  scan::Marker marker_;
  alloc::ThreadCache* cache_ = nullptr;
  std::array<std::uintptr_t, 12> roots_{};
  std::vector<Live> objects_;
  std::set<std::uintptr_t> written_;
  std::set<std::uintptr_t> keep_;
};

// A world for many marks, emptied now and then by beginning a new one.
template <typename Mark>
void run(std::uint64_t one_in, Mark&& mark) {
  const std::uint64_t heaps = test::length_from("ARENA_MODEL_GRAPHS", 3'000) / one_in;
  constexpr std::uint64_t kMarksEach = 40;
  for (std::uint64_t done = 0, seed = 1; done < heaps; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    World world(random);
    for (std::uint64_t i = 0; i < kMarksEach && done < heaps; ++i, ++done) {
      CAPTURE(i);
      mark(world);
    }
  }
  MESSAGE("heaps: ", heaps);
}

}  // namespace

TEST_CASE("a mark of a heap that stands still agrees with the verifier") {
  run(1, [](World& world) { world.mark_stopped(); });
}

TEST_CASE("a mark beside a program, with copies of what is reread, agrees with the verifier") {
  run(1, [](World& world) {
    world.copy_pages();
    world.mark_beside();
  });
}

TEST_CASE("a mark that lanes share agrees with the verifier") {
  run(4, [](World& world) {  // threads take their time
    world.share();
    world.mark_stopped();
  });
}

TEST_CASE("a mark that lanes share beside a program agrees with the verifier") {
  run(4, [](World& world) {  // threads take their time
    world.share();
    world.mark_beside();
  });
}

TEST_CASE("a mark beside a program that moves pointers agrees with the verifier") {
  run(1, [](World& world) { world.mark_beside(); });
}
