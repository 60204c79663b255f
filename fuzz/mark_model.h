// A marker beside a program, and a verifier that shares nothing with it: a list of the live objects, and a search that
// finds the object for a word by looking through that list. Both ways of a mark:
//
//   stopped      every object is black if the verifier reaches it, white if it does not; each was counted once;
//                pointers are looked for in any form (pointer_forms.h)
//   beside       objects are allocated, freed, replaced in place and rewired between any two steps of the marker, and
//                the OS pages that were written since the protection are told to it, as mark_cycle.h has it. At the end
//                whatever the verifier reaches is black, and what was lost before the mark began is white.
//
// and what is told of the way that leads to an object (retainers.h): that there is one, and that it is a shortest one.
//
// The first difference aborts. What the program does, and when, is told by choices.
//
// Threads: one at a time; a mark may have helpers. Called by: mark_fuzzer, tests.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "alloc/heap.h"
#include "fuzz/choices.h"
#include "scan/marker.h"
#include "scan/retainers.h"

namespace arenascan::fuzz {

class MarkModel {
 public:
  MarkModel();
  ~MarkModel();
  MarkModel(const MarkModel&) = delete;
  MarkModel& operator=(const MarkModel&) = delete;

  // OS pages that are reread are copied, from the first pointer on.
  void copy_pages() { marker_.set_many_pointers(1); }

  // So many lanes share each mark, from the first page on.
  void share(std::size_t lanes) { marker_.set_lanes(lanes, 1); }

  void mark_stopped(Choices& choices);
  void mark_beside(Choices& choices);

  // Asks why some object is reached (mark_retainers.cpp).
  void check_retainers(Choices& choices);

  // As many empty marks as bring the next mark the colours of the last one.
  void let_epochs_pass();

 private:
  struct Live {
    std::uintptr_t address;
    std::size_t bytes;
    std::uint8_t policy;
  };

  void set_forms(const scan::PointerForms& forms);
  void begin();
  void mark_roots();
  void drain_beside(Choices& choices);
  void protect_and_reread(Choices& choices);
  void reread_written(Choices& choices);
  [[nodiscard]] bool is_black(const Live& live) const;

  // The program.
  void mutate(Choices& choices, std::uint64_t steps);
  void allocate_one(Choices& choices);
  void allocate_many(Choices& choices);
  std::uintptr_t allocate(std::size_t bytes);
  void store_again(const Live& born);
  enum class Pointers : std::uint8_t { kGo, kStay };
  void release(std::vector<std::size_t> objects, Pointers pointers);
  void release_page(std::size_t object);
  void store(std::uintptr_t at, std::uintptr_t value);
  void annotate(Live& live, std::uint8_t policy);
  std::uintptr_t pointer(Choices& choices);
  [[nodiscard]] bool is_lost(std::size_t object) const { return lost_.count(objects_[object].address) != 0; }

  [[nodiscard]] std::vector<std::size_t> distances() const;
  void check_way(const scan::Retainers& found, std::size_t asked, std::size_t distance) const;
  void check_holders(const scan::Retainers& found, std::size_t asked) const;

  // The verifier.
  [[nodiscard]] static bool is_read(std::uint8_t policy);
  [[nodiscard]] static bool is_root(std::uint8_t policy);
  [[nodiscard]] std::size_t find_word_at(std::uintptr_t at, const Live& holder) const;
  [[nodiscard]] bool points_to(const Live& holder, std::size_t object) const;
  [[nodiscard]] std::size_t find(std::uintptr_t word) const;
  [[nodiscard]] std::vector<bool> reached() const;

  alloc::Heap heap_;
  alloc::HeapView view_;
  scan::Marker marker_;
  alloc::ThreadCache* cache_ = nullptr;
  scan::PointerForms forms_;
  std::array<std::uintptr_t, 12> roots_{};
  std::vector<Live> objects_;
  std::size_t bytes_ = 0;              // of all of them
  std::size_t bytes_gone_ = 0;         // of the object that was released last
  std::vector<std::uintptr_t> stale_;  // where a pointer to a released object is, or was
  std::set<std::uintptr_t> written_;   // OS pages, since the protection
  std::set<std::uintptr_t> lost_;      // before the mark began
};

}  // namespace arenascan::fuzz
