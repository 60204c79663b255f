// A private heap that plays a trace, and a model that knows every object and every pointer in it.
//
// Held against the model: no overlap, alignment, sizes, contents, what is said to be zero, who allocated it; at each
// scan the numbers of objects and bytes seen, reached and leaked, changed, direct and indirect, new and recovered; at
// the end the heap's own invariants, and that it gives all memory back. The first difference aborts.
//
// Any record can be played: numbers are taken modulo what there is (kObjects, kThreads, kRoots), sizes above a mebibyte
// and alignments above 64 KiB shrink, and what makes no sense (a release of nothing) is left out. So a trace that a
// program wrote is played nearly as it is, and one of random bytes does something with most of its records.
//
// Roots are explicit, and the mark is made while nobody writes, so the verdict is exact: no stack, no register.
//
// Beside a scan: as many of the records that follow it as the number of its thread says (above kThreads) are played
// when the mark is made, some of them before orphans are looked at and the rest between two looks. So orphans are freed
// and written to that the scan has found. What is born then stays empty, and neither sizes nor policies change: a scan
// may or may not see it.
//
// Threads: those records can be played at the same time, each by another thread, which are of different threads, touch
// no object in common (touched()) and are not to be played alone (is_alone()). What the model knows of all objects is
// locked; the heap is called without that lock. An object is in by_address_ no longer than it is the program's, so that
// whoever is given its place next finds it free.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "alloc/heap.h"
#include "api/trace/record.h"
#include "scan/scanner.h"

namespace arenascan::fuzz {

class Model {
 public:
  // An odd variant: the heap gives memory back to the system at once; an even one: not before a second is over.
  explicit Model(std::size_t variant);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  static constexpr std::size_t kThreads = 4;
  static constexpr std::size_t kObjects = 64;

  void play(const trace::Record& record);

  // The objects that a record looks at or changes, by number; kObjects: none. Few, so that others can be played beside.
  [[nodiscard]] static std::array<std::size_t, 2> touched(const trace::Record& record);
  // Whether it looks at more than these. Asked of each before it is played.
  [[nodiscard]] bool is_alone(const trace::Record& record) const;

  // A last scan, and the heap's own check of itself; then all is released, and the heap must be empty. Once.
  void finish();

 private:
  static constexpr std::size_t kRoots = 8;
  static constexpr std::size_t kMostBytes = std::size_t{8} << 20;  // of all objects
  static constexpr std::size_t kMostBeside = 16;                   // records beside one scan, and one more
  static constexpr std::size_t kMostHeld = 4;

  using Words = std::map<std::size_t, std::uintptr_t>;
  struct Object {
    std::uintptr_t address = 0;  // 0: none has this number now
    std::size_t bytes = 0;
    std::uint8_t policy = 0;                              // of alloc/layout.h
    std::uint8_t family = 0;                              // likewise
    bool is_young = false;                                // born beside the scan that goes on
    bool is_orphan = false;                               // of the last mark
    bool is_reported = false;                             // a leak of the last scan
    bool is_new = false;                                  // was looked at for the first time
    bool has_changed = false;                             // between two looks
    Words words;                                          // those that are not 0, by position
    std::optional<std::pair<std::size_t, Words>> looked;  // what it held when it was last looked at
  };
  struct Thread {
    alloc::ThreadCache* cache = nullptr;
    unsigned disabled = 0;
  };
  using Set = std::array<bool, kObjects>;

  Object& object(std::uint32_t number) { return objects_[number % kObjects]; }
  Thread& thread(const trace::Record& record) { return threads_[record.thread % kThreads]; }
  alloc::ThreadCache& cache_of(Thread& thread);
  void play_now(const trace::Record& record);

  void allocate(const trace::Record& record, std::size_t bytes, std::size_t alignment);
  void resize(const trace::Record& record);
  [[nodiscard]] bool resize_in_place(Object& object, std::size_t bytes);
  void set_bytes(Object& object, std::size_t bytes);
  [[nodiscard]] bool has_room(std::size_t bytes);
  void release(Thread& thread, Object& object);
  void hold(Thread& thread, Object& object);
  void release_held(alloc::ThreadCache* cache, const Object& object);
  Object forget(Object& object);
  void store(const trace::Record& record);
  void annotate(Object& object, std::uint8_t policy);
  void end(Thread& thread);
  void give_all_back();

  // A scan, and what it has to find (model_scan.cpp).
  void scan();
  [[nodiscard]] Set reached() const;
  void play_beside();
  void look(bool again);
  void check_leaks(const scan::Verdict& verdict);
  void check_descriptions();

  // The word that a record stores: into its target, or null.
  [[nodiscard]] std::uintptr_t word_of(const trace::Record& record);
  static void write(const Object& object, std::size_t position, std::uintptr_t word);
  void check_contents(const Object& object) const;
  static void check_words(const Object& object);
  void check_no_overlap(const Object& object) const;

  // The number of the object that a word points to or into; kObjects: none.
  [[nodiscard]] std::size_t find(std::uintptr_t word) const;
  void spread(std::vector<std::size_t> from, Set& reached) const;
  [[nodiscard]] std::size_t count_direct(const Set& leaks) const;

  alloc::Heap heap_;
  scan::UserRoots user_roots_;
  scan::Scanner scanner_;
  std::array<std::uintptr_t, kRoots> roots_{};
  std::array<Thread, kThreads> threads_;
  std::array<Object, kObjects> objects_;
  std::mutex mutex_;  // by_address_, the bytes of the objects in it, bytes_, held_
  std::map<std::uintptr_t, std::size_t> by_address_;
  std::size_t bytes_ = 0;     // of all objects
  std::deque<Object> held_;   // in quarantine
  std::size_t reported_ = 0;  // leaks of the last scan, those that are gone since among them

  // To be played beside a scan: those that are still awaited, and those that have come.
  std::size_t beside_left_ = 0;
  std::vector<trace::Record> beside_;
  bool scans_now_ = false;
  unsigned looks_ = 0;  // begun, of the scan that goes on
};

}  // namespace arenascan::fuzz
