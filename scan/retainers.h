// Why an object is reached: the shortest way of pointers from a root to it.
//
//     root  --word-->  object  --word at an offset-->  object  ...  -->  the object that was asked for
//
// Objects are visited in the order of their distance from the roots, and each remembers who found it. The stack and the
// registers of the thread that asks come last, since they hold the pointer that it asks about; before them, objects
// that are never reported by the program's will, which hold what they point to. An object without a way is lost; those
// which point to it are lost too, and told.
//
// Colours tell what was visited; a mark begins with new ones anyhow. It takes 24 bytes of tool memory for each object
// visited, and the world stands still for it: something for people who look for one leak.
//
// Threads: the scanner's, with the world stopped. Called by: mark_cycle; the result is read by api/.
#pragma once

#include <cstdint>
#include <span>

#include "alloc/heap_view.h"
#include "alloc/meta_vector.h"
#include "scan/marker.h"
#include "scan/roots.h"
#include "scan/verdict.h"

namespace arenascan::scan {

// An object on the way, as it was while the world stood still.
struct Step {
  std::uintptr_t word = 0;  // where the pointer to it lies: in the root, or in the object before
  std::uintptr_t address = 0;
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;  // behind the object's address to which it points
  alloc::StackId stack = alloc::kNoStack;
};

struct Retainers {
  Incomplete incomplete = Incomplete::kNo;
  int incomplete_thread = 0;

  Step object;                // that was asked for; no address: there is none any more
  bool is_reached = false;    // there is a way
  bool is_annotated = false;  // it begins with an object that is never reported, and not with a root
  bool is_own = false;        // it begins with the stack or registers of the thread that asks
  RootRange root;
  alloc::MetaVector<Step> way;      // outwards from the root; the last one is the object
  alloc::MetaVector<Step> holders;  // without a way, or with an own one only: some that point to it, `word` in them
};

class RetainerSearch {
 public:
  // `marker` has begun a mark, so that all objects are white, and knows what cannot be read.
  RetainerSearch(alloc::HeapView heap, const Marker& marker, std::span<const RootRange> roots) noexcept
      : heap_(heap), marker_(marker), roots_(roots) {}

  // For the object that `word` points to, asked by the thread with the id `self`. Fills all of `found` but how complete
  // it is. False: no memory.
  [[nodiscard]] bool run(std::uintptr_t word, int self, Retainers& found) noexcept;

 private:
  struct Visit {
    std::uintptr_t object;
    std::uintptr_t word;
    std::size_t parent;  // kNobody: a root
  };
  static constexpr std::size_t kNobody = SIZE_MAX;

  template <typename Wanted>
  void visit_roots(Wanted&& wanted) noexcept;
  void visit_annotated() noexcept;
  void read(AddressRange range, std::size_t parent) noexcept;
  void read_closed_root(AddressRange range) noexcept;
  void visit(const alloc::Object& object, std::uintptr_t word, std::size_t parent) noexcept;
  void follow() noexcept;
  void tell_way(Retainers& found) noexcept;
  void tell_holders(Retainers& found) noexcept;
  [[nodiscard]] Step step_to(std::uintptr_t pointer, std::uintptr_t word) const noexcept;

  alloc::HeapView heap_;
  const Marker& marker_;
  std::span<const RootRange> roots_;
  alloc::Object target_;
  alloc::MetaVector<Visit> visits_;
  std::size_t next_ = 0;         // of them, to be read
  std::size_t found_ = kNobody;  // of them, the target
  bool fits_ = true;
};

}  // namespace arenascan::scan
