// A private heap that plays a trace, and a model that knows every object and every pointer in it.
//
// Held against the model: no overlap, alignment, sizes, contents, what is said to be zero, who allocated it; at each
// scan the numbers of objects and bytes seen, reached, changed, suppressed, new and recovered, which objects leak and
// whether directly, and the groups of those from one stack; at the end the heap's own invariants, and that it
// gives all memory back. The first difference aborts.
//
// Any record can be played: numbers are taken modulo what there is (kObjects, kThreads, kRoots), sizes above a mebibyte
// and alignments above 64 KiB shrink, and what makes no sense (a release of nothing) is left out. So a trace that a
// program wrote is played nearly as it is, and one of random bytes does something with most of its records.
//
// A program's threads have small numbers. From kThreads on a number says more (Extra): of an object that is made, where
// from, and how many more there are to be; of a release, how many more; of a scan, its settings; of a fork, how much
// time passes (and what happens by chance then, chance.h).
//
// Roots are explicit, and the mark is made while nobody writes, so the verdict is exact: no stack, no register.
//
// Beside a scan: as many of the records that follow it as its settings say are played when the mark is made, some of
// them before orphans are looked at and the rest between two looks. So orphans are freed and written to that the scan
// has found. What is born then stays empty, and neither sizes nor policies change: a scan may or may not see it.
//
// Threads: those records can be played at the same time, each by another thread, which are of different threads, touch
// no object in common (touched()) and are not to be played alone (is_alone()). What the model knows of all objects is
// locked; the heap is called without that lock. An object is in by_address_ no longer than it is the program's, so that
// whoever is given its place next finds it free.
#pragma once

#include <array>
#include <bitset>
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

  // The objects that a record looks at or changes, by number. Few, so that others can be played beside.
  using Set = std::bitset<kObjects>;
  [[nodiscard]] static Set touched(const trace::Record& record);
  // Whether it looks at more than these. Asked of each before it is played.
  [[nodiscard]] bool is_alone(const trace::Record& record) const;

  // A last scan, and the heap's own check of itself; then all is released, and the heap must be empty. Once.
  void finish();

 private:
  static constexpr std::size_t kRoots = 8;
  static constexpr std::size_t kMostBytes = std::size_t{8} << 20;  // of all objects
  static constexpr std::size_t kMostHeld = 4;

  using Standing = scan::Description::Standing;
  using Words = std::map<std::size_t, std::uintptr_t>;
  struct Object {
    std::uintptr_t address = 0;  // 0: none has this number now
    std::size_t bytes = 0;
    std::uint8_t policy = 0;                   // of alloc/layout.h
    std::uint8_t family = 0;                   // likewise
    std::uint32_t stack = 0;                   // where from
    std::uint32_t marked_stack = 0;            // at the last mark; with another one it is another object to the scanner
    std::uint32_t born = 0;                    // the heap's stamp
    Standing standing = Standing::kBornLater;  // at the last scan
    bool is_young = false;                     // born beside the scan that goes on
    bool is_orphan = false;                    // of the last mark
    bool is_reported = false;                  // a leak of the last scan
    bool is_new = false;                       // was looked at for the first time
    bool has_changed = false;                  // between two looks
    unsigned scans_at_rest = 0;                // one after the other
    Words words;                               // those that are not 0, by position; the last may be cut
    std::optional<std::pair<std::size_t, Words>> looked;  // what it held when it was last looked at
  };
  struct Thread {
    alloc::ThreadCache* cache = nullptr;
    unsigned disabled = 0;
  };
  static constexpr std::uint32_t kStacks = 4;
  static constexpr unsigned kMostTime = 8;

  // What a record's thread says beyond kThreads: numbers below some counts, one after the other.
  class Extra {
   public:
    explicit Extra(const trace::Record& record) : left_(record.thread / kThreads) {}
    unsigned below(unsigned count) { return std::exchange(left_, left_ / count) % count; }

   private:
    unsigned left_;
  };

  struct ScanPlan {
    explicit ScanPlan(const trace::Record& record);

    unsigned beside = 0;  // records
    unsigned min_unref_scans = 1;
    enum class Births : std::uint8_t { kAll, kSince, kBefore, kMarkNow } births = Births::kAll;
    unsigned suppressed = 0;  // bit s - 1: what is from stack s
    unsigned cancelled = 0;   // at the first question, at the second; else at none
    bool forgets = false;     // leaks, before the next scan
  };

  // What a scan has to make of orphans.
  struct Expected {
    Set changed;             // and what they hold
    Set suppressed;          // by their stacks
    Set held_by_suppressed;  // themselves among them
    Set at_rest;             // the rest
  };

  Object& object(std::uint32_t number) { return objects_[number % kObjects]; }
  Thread& thread(const trace::Record& record) { return threads_[record.thread % kThreads]; }
  alloc::ThreadCache& cache_of(Thread& thread);
  void play_now(const trace::Record& record);
  void play_one(const trace::Record& record);
  [[nodiscard]] static unsigned repeats(const trace::Record& record);

  void allocate(const trace::Record& record, std::size_t bytes, std::size_t alignment);
  void resize(const trace::Record& record);
  [[nodiscard]] bool resize_in_place(Object& object, std::size_t bytes, std::uint32_t stack);
  void set_bytes(Object& object, std::size_t bytes);
  [[nodiscard]] bool has_room(std::size_t bytes);
  void release(Thread& thread, Object& object);
  void hold(Thread& thread, Object& object);
  void release_held(alloc::ThreadCache* cache, const Object& object);
  Object forget(Object& object);
  void store(const trace::Record& record);
  void annotate(Object& object, std::uint8_t policy);
  void end(Thread& thread);
  void let_time_pass(unsigned pieces);
  void give_all_back();

  // A scan, and what it has to find (model_scan.cpp).
  void scan();
  [[nodiscard]] scan::ScanSettings settings();
  [[nodiscard]] std::uint32_t next_stamp() const;
  [[nodiscard]] Set reached() const;
  [[nodiscard]] bool answer_question();
  void play_beside(std::size_t end);
  void look(bool again);
  [[nodiscard]] Expected expect() const;
  [[nodiscard]] std::uint32_t age(const Object& object) const;
  [[nodiscard]] bool is_wanted(const Object& object) const;
  [[nodiscard]] bool is_due(const Object& object) const;
  void check_cancelled(const scan::Verdict& verdict) const;
  void check_verdict(const scan::Verdict& verdict, const Expected& expected);
  [[nodiscard]] static bool is_the_same(const Object& object) { return object.stack == object.marked_stack; }
  void note_standings(const Expected& expected);
  void check_descriptions();
  void forget_leaks();

  // Which leaks are told, and how (model_leaks.cpp).
  void check_leaks(const scan::Verdict& verdict, const Set& at_rest, const Set& leaks) const;
  void check_direct(const Set& at_rest, const Set& leaks, const Set& direct) const;
  using Groups = std::map<std::pair<bool, std::uint32_t>, scan::Count>;
  void add_to(Groups& groups, const Object& object, bool direct) const;
  void check_groups(const alloc::MetaVector<scan::Group>& told, const Groups& expected) const;

  // The word that a record stores: into its target, or null.
  [[nodiscard]] std::uintptr_t word_of(const trace::Record& record);
  static void write(const Object& object, std::size_t position, std::uintptr_t word);
  void check_contents(const Object& object) const;
  static void check_words(const Object& object);
  void check_no_overlap(const Object& object) const;

  // The number of the object that a word points to or into; kObjects: none.
  [[nodiscard]] std::size_t find(std::uintptr_t word) const;
  void spread(const Set& from, Set& reached) const;
  [[nodiscard]] scan::Count count(const Set& objects) const;

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

  std::uint32_t time_ = 0;  // that was marked last; 0: none was
  unsigned time_left_ = kMostTime;
  std::uint32_t marked_at_ = 0;  // the last mark's stamp

  // The scan that goes on or is to come, how many records to be played beside it are still awaited, and those that have
  // come.
  ScanPlan plan_{trace::Record{}};
  std::size_t beside_left_ = 0;
  std::vector<trace::Record> beside_;
  bool scans_now_ = false;
  unsigned looks_ = 0;  // begun
  bool forgets_ = false;
  bool is_whole_ = false;  // the last scan was
};

}  // namespace arenascan::fuzz
