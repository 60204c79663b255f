// What is scanned without being reachable from anything.
//
// The truth is /proc/self/maps, read while the world is stopped: whatever private memory is mapped and readable then is
// a root unless it is known to be dead or the tool's own. What a piece of memory *is* only decides which switch turns
// it off:
//
//     mapping contains ...                          becomes
//     a thread's stack pointer                      [stack pointer - red zone, first frame)      stack
//                                                   [first frame, end)                           thread-local
//     a thread's descriptor, elsewhere than a stack the whole mapping                            thread-local
//     a registered stack without a live thread      its descriptor, until joined; all of it if   thread-local
//                                                   inherited
//     writable data of a loaded module              its pages that were written                  globals
//     anything else that is private and anonymous   its pages that were touched                  mapping
//     private and anonymous, closed (PROT_NONE)     likewise, read by the kernel                 mapping
//     the heap, its metadata, the tool's memory     nothing
//
// What the program registered counts wherever it is mapped, by the same rules; shared memory, of which this process's
// pages do not tell what it holds, is read by the kernel up to the end of its file.
//
// Pages that were never touched (or, of files, never written) are left out: they hold no pointer, reading them would
// cost memory, and reading a file mapping that has been cut short would be fatal. /proc/self/pagemap tells. Where it
// tells page by page (before Linux 6.7), or nothing (a process that has changed its user), closed mappings of more than
// 64 MiB, reserved address space as a rule, are left out; in the latter case other closed ones too, if mincore says
// that nothing is there.
//
// While the modules stand where they were listed, what the program only reads of them is not asked about (of data that
// the loader has made read-only, unless somebody has made it writable), nor about the kernel's own mappings; and short
// parts of their data that were touched as a whole are taken to be so still. (Should the program have given such a page
// back, it is read as what its file holds, or as zeros.)
//
// Two steps: prepare() while the program runs, for what may take the dynamic loader's lock; collect_world_stopped() for
// the rest, which allocates only tool memory.
//
// Threads: one scan at a time. User roots are added and removed from any thread, under their own lock, which the
// scanner holds while the world is stopped.
//
// Called by: scanner; user roots by api/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "alloc/meta_vector.h"
#include "scan/closed_memory.h"
#include "scan/mappings.h"
#include "scan/pagemap.h"
#include "scan/threads.h"
#include "scan/world.h"

namespace arenascan::scan {

enum class RootKind : std::uint8_t { kGlobals, kStack, kRegisters, kTls, kMapping, kUser };

struct RootRange {
  AddressRange range;
  RootKind kind = RootKind::kGlobals;
  int thread = 0;       // whose stack, registers or thread-local data it is, where that is known
  bool closed = false;  // to be read by closed_memory.h
};

struct RootSettings {
  bool globals = true;
  bool stacks = true;
  bool registers = true;
  bool tls = true;
  bool mappings = true;
  bool user = true;
};

// Ranges that the user registered. They count by (begin, size): added twice, removed twice.
class UserRoots {
 public:
  constexpr UserRoots() = default;
  [[nodiscard]] bool add(AddressRange range) noexcept;     // false: no memory
  [[nodiscard]] bool remove(AddressRange range) noexcept;  // false: never added
  void lock() noexcept { mutex_.lock(); }
  void unlock() noexcept { mutex_.unlock(); }
  [[nodiscard]] const alloc::MetaVector<AddressRange>& ranges_locked() const noexcept { return ranges_; }

 private:
  std::mutex mutex_;
  alloc::MetaVector<AddressRange> ranges_;  // mutex_
};

// Puts ranges in order and joins those that overlap or touch.
void sort_and_merge(alloc::MetaVector<AddressRange>& ranges) noexcept;

class RootCollector {
 public:
  // Lists the segments of all loaded modules, if there are others than the last time. May take the loader's lock.
  // `is_alone`: no other thread can unload any until the roots are collected, and map something else where it was.
  [[nodiscard]] Incomplete prepare(bool is_alone) noexcept;

  // Fills roots() for the stopped threads and the calling one. `never` are ranges that are no roots: the heap with its
  // metadata, the tool's memory. `heap_in_use` is the part of the heap that holds objects. Of the ranges `user` that
  // the program registered, what is mapped. `pagemap` is open. The registry's lock is held.
  [[nodiscard]] Incomplete collect_world_stopped(const RootSettings& settings, std::span<const StoppedThread> stopped,
                                                 const StoppedThread& self, const ThreadRegistry& registry,
                                                 std::span<const AddressRange> never, AddressRange heap_in_use,
                                                 std::span<const AddressRange> user, const Pagemap& pagemap) noexcept;

  // Asks, beside the program, what collect_world_stopped() will ask, and fetches the roots of the last time: all of it
  // is in the processor's caches when the world stands. That takes half as long then.
  void rehearse(const Pagemap& pagemap) noexcept;

  [[nodiscard]] std::span<const RootRange> roots() const noexcept { return {roots_.begin(), roots_.size()}; }

  [[nodiscard]] ClosedHeap closed_heap() const noexcept {
    return {{closed_heap_.begin(), closed_heap_.size()}, {touched_heap_.begin(), touched_heap_.size()}};
  }

 private:
  struct Live {
    std::uintptr_t stack_pointer;
    std::uintptr_t thread_pointer;
  };
  struct Wanted {  // as far as it was touched
    AddressRange range;
    RootKind kind;
    bool file;
    bool closed;
  };
  struct Module {  // as the loader knows it by any address in it
    void* begin;
    void* end;
    void* entry;
    friend bool operator==(const Module&, const Module&) = default;
  };
  struct ModuleCount {
    unsigned long long added = 0;
    unsigned long long removed = 0;
    friend bool operator==(const ModuleCount&, const ModuleCount&) = default;
  };

  void add_thread(const StoppedThread& thread, const ThreadRegistry& registry) noexcept;
  void add_registered_stack(const StackEntry& entry) noexcept;
  void add_mapping(const Mapping& mapping) noexcept;
  void add_part(const Mapping& mapping, AddressRange part) noexcept;
  void add_closed(const Mapping& mapping) noexcept;
  void add_closed_heap(AddressRange part) noexcept;
  void add_user(AddressRange range) noexcept;
  void add_file(AddressRange part, RootKind kind) noexcept;
  void add_stack(std::uintptr_t from, const StackEntry& entry) noexcept;
  void want(AddressRange range, RootKind kind, bool file, bool closed = false) noexcept;
  template <typename Visit>
  void for_each_cluster(Visit&& visit) const noexcept;
  void add_wanted() noexcept;
  void add_touched(std::span<const Wanted> wanted) noexcept;
  void add(AddressRange range, RootKind kind, bool closed = false) noexcept;
  void claim(AddressRange range) noexcept;
  [[nodiscard]] static bool look_up(void* address, Module& module) noexcept;
  [[nodiscard]] bool modules_stand() const noexcept;
  [[nodiscard]] bool read_mappings() noexcept;
  void learn_own_of_kernel() noexcept;
  [[nodiscard]] bool is_whole(AddressRange range) const noexcept;
  void learn_whole(std::span<const Wanted> wanted, std::size_t first_root) noexcept;
  void leave_unasked(std::span<const AddressRange> never, AddressRange heap_in_use) noexcept;
  [[nodiscard]] bool is_enabled(RootKind kind) const noexcept;
  [[nodiscard]] const Mapping* mapping_of(std::uintptr_t address) const noexcept;

  MappingTable mappings_;
  alloc::MetaVector<AddressRange> constants_;  // what modules only read, and the kernel's own ([vvar])
  alloc::MetaVector<AddressRange> sealed_;     // what the loader has made read-only of their data; sorted
  alloc::MetaVector<AddressRange> unasked_;    // where mappings do not matter; sorted
  alloc::MetaVector<AddressRange> modules_;    // what they write to; sorted
  alloc::MetaVector<Module> loaded_;           // all of them; none: the loader does not tell
  alloc::MetaVector<AddressRange> whole_;      // short parts of modules_ of which every page was touched; sorted
  bool is_alone_ = false;
  bool modules_stand_ = false;               // are where they were listed
  ModuleCount modules_known_;                // when they were listed; no module ever added: not yet
  alloc::MetaVector<AddressRange> claimed_;  // stacks and excluded memory: not to be taken for something else
  alloc::MetaVector<Live> live_;
  alloc::MetaVector<Wanted> wanted_;
  alloc::MetaVector<RootRange> roots_;
  alloc::MetaVector<AddressRange> closed_heap_;
  alloc::MetaVector<AddressRange> touched_heap_;
  RootSettings settings_;
  int thread_ = 0;  // whose roots are being added
  const Pagemap* pagemap_ = nullptr;
  bool fits_ = true;                     // false: the tool's memory ran out
  Incomplete untold_ = Incomplete::kNo;  // why it is not known whether something is a root
};

}  // namespace arenascan::scan
