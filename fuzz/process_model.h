// The process's own heap, and a model that knows every object in it that a trace has made, and every pointer in those.
//
// Records are played by malloc and its kin, by real threads; which numbers make sense is model.h's rule. Held against
// the model: contents, alignment, sizes, zeros, errno, what requests that cannot be granted say; at each scan how much
// is lost; at the end that the process holds no more than at the beginning.
//
// Invariants
//   1. The program's only pointers to the trace's objects lie in g_roots and in these objects. What the model knows of
//      addresses is complemented and lies in static memory: no scan sees it, and none of it is counted. No pointer is
//      left in memory that is given back: who gets it next may not write all of it.
//   2. So never more is told as lost than the model says: that is exact. An old word on a stack or in a register may
//      keep something; then arena_retainers() must say so.
//
// Threads: those records can be played at the same time, each by another thread, which touch no object in common
// (touched()) and are not to be played alone (is_alone()). begin(), finish() and alone records: while no other thread
// plays. Called by: process_fuzzer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "api/trace/record.h"

namespace arenascan::fuzz {

class ProcessModel {
 public:
  static constexpr std::size_t kObjects = 64;
  static constexpr int kErrno = 4711;  // nobody's; what succeeds leaves it
  using Touched = std::array<bool, kObjects>;

  static void start();  // once, before all others
  void begin();
  // All is released, and nothing may be left. Other threads have ended.
  void finish();

  void play(const trace::Record& record);
  // What the calling thread leaves behind: nothing of the trace's, on its stack and in its registers.
  static void forget();

  // Before records are played beside each other one of which scans: what they touch.
  void expect(const Touched& touched);

  [[nodiscard]] static std::array<std::size_t, 2> touched(const trace::Record& record) {
    return {record.object % kObjects, record.other % kObjects};
  }
  [[nodiscard]] static bool is_alone(const trace::Record& record);

 private:
  static constexpr std::size_t kLinks = 8;  // words at the beginning of an object that may be pointers
  static constexpr std::size_t kMostBytes = std::size_t{8} << 20;  // of all objects
  static constexpr std::size_t kMovedMost = 4;  // objects that are on their way to another place at a time

  enum class Family : std::uint8_t { kMalloc, kNew, kNewArray };
  struct Object {
    std::uintptr_t hidden = 0;  // complement of its address; 0: none has this number now
    std::size_t bytes = 0;
    std::size_t alignment = 1;  // that operator delete is told
    Family family = Family::kMalloc;
    std::uint8_t fill = 0;  // each byte behind the links
    bool is_not_leak = false;
    bool is_ignored = false;
    bool is_no_scan = false;
    std::array<std::uintptr_t, kLinks> links{};  // complements; 0: null
    [[nodiscard]] std::uint8_t* address() const { return reinterpret_cast<std::uint8_t*>(~hidden); }
  };
  struct Lost {
    std::size_t objects = 0;
    std::size_t bytes = 0;
  };

  void allocate(const trace::Record& record);
  void resize(const trace::Record& record);
  void release(Object& object);
  void store(const trace::Record& record);
  void annotate(const trace::Record& record);
  void set_root(const trace::Record& record);
  static void fork_child();

  void enter(Object& object, std::uint8_t* address, std::size_t bytes);
  void leave(Object& object);
  static void fill(const Object& object);
  static void write_links(const Object& object, std::uintptr_t mask);
  static void check(const Object& object, std::size_t bytes, std::uintptr_t mask = 0);
  [[nodiscard]] std::uintptr_t hidden_word_of(const trace::Record& record) const;
  [[nodiscard]] std::size_t find(std::uintptr_t hidden_word) const;
  // Those that are reached by way of others than `left_out`.
  [[nodiscard]] Touched reached(const Touched& left_out) const;

  void scan(const trace::Record& record);
  [[nodiscard]] bool is_held_by_old_word(const Touched& reached) const;
  [[nodiscard]] Lost count_lost(const Touched& reached) const;

  std::array<Object, kObjects> objects_;
  std::atomic<std::size_t> bytes_{0};  // of all objects, written by who makes and frees them
  std::size_t most_lost_ = 0;          // in a scan beside records
  bool has_forked_ = false;
  std::uint32_t mark_ = 0;
  std::size_t objects_before_ = 0;  // what the process held
  std::size_t bytes_before_ = 0;
};

// The trace's roots.
inline constexpr std::size_t kRoots = 8;
inline volatile std::uintptr_t g_roots[kRoots];

}  // namespace arenascan::fuzz
