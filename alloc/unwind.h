// The call stack of the running thread, at a few nanoseconds a frame, also through code without frame pointers.
//
// For nearly every return address the compiler's unwind table (.eh_frame) says one of a handful of things: the
// caller's frame starts at `rsp + n` or `rbp + n`, the return address lies just below it, and the caller's rbp is
// either unchanged or saved at a known offset. Such a *rule* fits in eight bytes. The first visit of a return address
// finds and evaluates its table entry (cfi.h) and keeps the rule in a table shared by all threads; every later visit is
// one probe. An address whose entry says anything else (expressions, other base registers, no entry at all) makes the
// whole walk fall back to libunwind, which is slow and general.
//
//     return address --> rule table --> rsp', rbp', next return address --> ...
//                            |miss
//                            +--> _dl_find_object -> .eh_frame_hdr -> cfi.h -> rule
//
// Code that belongs to no module (a JIT's) is walked by frame pointers while they look like some.
//
// Invariants
//   1. A walk reads at or above its start, upwards, and never past the end of a stack whose end is known. Of a frame
//      that a signal interrupted it also reads the red zone.
//   2. The rule path does not allocate and takes no lock (_dl_find_object has none). libunwind takes the loader's lock.
//   3. A rule is used only while no module has been unloaded since: unwind_forget_modules() retires them all, and
//   trails.
//
// Threads: capture from any thread at once; the rule table is written with atomic stores of whole entries.
// The idea of flattening unwind tables into per-address rules is that of the Linux kernel's ORC and of framehop.
//
// Called by: api/ (stack capture of allocations).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "alloc/trail.h"

namespace arenascan::alloc {

// The state of this function's caller. Only in functions that are compiled with a frame pointer.
#define ARENA_CALLER_STATE()                                                                         \
  (::arenascan::alloc::FrameState{reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)),     \
                                  reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) + 16, \
                                  *static_cast<const std::uintptr_t*>(__builtin_frame_address(0))})

// How frames are found.
enum class UnwindBy : std::uint8_t { kRules, kFramePointers };

// Writes the return addresses from `state.pc` outwards into `frames`, at most `capacity`, and returns how many; records
// the walk's trail, which is to be fresh. Keeps errno.
std::size_t unwind(const FrameState& state, std::uintptr_t* frames, std::size_t capacity, Trail& trail,
                   UnwindBy by = UnwindBy::kRules) noexcept;

// The same by libunwind alone, from the calling function outwards: the yardstick that tests and the bench compare with.
std::size_t unwind_slow(std::uintptr_t* frames, std::size_t capacity) noexcept;

// The same from the frame outwards that `pc` returns to: 0 when it is not on the stack.
std::size_t unwind_slow_from(std::uintptr_t pc, std::uintptr_t* frames, std::size_t capacity) noexcept;

// Whether a walk on the calling thread follows the frame pointer `fp` out of a frame at `sp`: it lies above, aligned,
// on a stack whose end is known.
bool unwind_follows(std::uintptr_t fp, std::uintptr_t sp) noexcept;

// Tells the calling thread where its stack ends. The main thread's is known; others' are not until told.
void unwind_set_stack_end(std::uintptr_t end) noexcept;

// Whether the rule that walks go by at this code address is the one that the compiler's table gives. For tests: slow.
bool unwind_rule_is_right_for_test(std::uintptr_t address) noexcept;

// Where rules are kept: words that hold nothing of the program's.
std::span<const std::byte> unwind_memory() noexcept;

// Retires every rule and trail: a module has been unloaded and its addresses may come to mean something else.
void unwind_forget_modules() noexcept;

// How often modules have been forgotten. Written by unwind_forget_modules(), read by every walk and every comparison of
// a trail. Relaxed: a thread that runs code of a new module has synchronised with its loading.
extern constinit std::atomic<std::uint32_t> g_module_generation;

}  // namespace arenascan::alloc
