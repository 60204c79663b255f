// What one walk of the stack read, so that the next one can read it again instead of walking.
//
// Where a walk by unwind rules (unwind.h) goes is decided by the code address it starts at, the stack pointer, and the
// words it reads: return addresses, and saved frame pointers where a frame is found through one. A *trail* lists those
// words by their distance from the stack pointer:
//
//     step:   | expected frame pointer - sp 32 | its distance / 8 16 | distance / 8 of the return address 16 |
//
// When entry, code address and every word of a trail are found as they were, a walk would do what it did then and name
// the same stack: that is proved, not guessed. The words are compared innermost first, and each word's place follows
// from those before it, so nothing is read that a walk would not read. Distances, not addresses: one trail serves all
// threads and all depths of recursion.
//
// Not every walk leaves a trail: not one that met a signal frame, needed libunwind, or ended in the middle of nowhere.
// One that follows frame pointers (where asked for, or in code of no module) and ends because the next one leads
// nowhere is taken to end there again.
//
// Threads: values. Called by: unwind (recording), stack_cache (comparing).
#pragma once

#include <cstddef>
#include <cstdint>

namespace arenascan::alloc {

inline constexpr std::size_t kMaxFrames = 64;

// Where a walk starts: the state of the caller of the function that was entered, right after the return to it.
struct FrameState {
  std::uintptr_t pc;  // return address into the caller
  std::uintptr_t sp;  // value of rsp after the return
  std::uintptr_t fp;  // caller's rbp
};

struct TrailStep {
  static constexpr std::uint16_t kNone = 0xFFFF;  // not compared
  std::uint16_t return_at;
  std::uint16_t frame_pointer_at;
  std::int32_t frame_pointer;  // relative to sp
};
static_assert(sizeof(TrailStep) == sizeof(std::uint64_t));

// A trail while it is recorded.
struct Trail {
  static constexpr std::size_t kMaxSteps = 2 * kMaxFrames;

  bool usable = true;
  bool compares_fp = false;  // the frame pointer that the walk started with matters
  bool ends_by_fp = false;   // the walk ended because a frame pointer led nowhere: `end` tells where it was read
  std::uint32_t count = 0;
  TrailStep end;               // frame_pointer_at: kNone is the register; return_at: distance of the last frame
  TrailStep steps[kMaxSteps];  // written when `count` comes to them

  // Adds the comparison of a word that holds a return address (the next of the stack) or a frame pointer.
  void add_return(std::uintptr_t distance) noexcept {
    if (TrailStep* const step = fits(distance) ? open_step() : nullptr) {
      step->return_at = static_cast<std::uint16_t>(distance / kWord);
      ++count;
      is_open_ = false;
    }
  }
  void add_frame_pointer(std::uintptr_t distance, std::uintptr_t relative_value) noexcept {
    const auto value = static_cast<std::int32_t>(relative_value);
    usable = usable && static_cast<std::uintptr_t>(std::intptr_t{value}) == relative_value;
    if (is_open_) {  // two of them before one return address
      ++count;
      is_open_ = false;
    }
    if (TrailStep* const step = fits(distance) ? open_step() : nullptr) {
      step->frame_pointer_at = static_cast<std::uint16_t>(distance / kWord);
      step->frame_pointer = value;
    }
  }

  // The walk ends at the frame `distance` from where it started; its frame pointer was read `fp_distance` from there,
  // or is still that of the register.
  void end_by_frame_pointer(std::uintptr_t distance, bool is_in_register, std::uintptr_t fp_distance) noexcept {
    if (!fits(distance) || (!is_in_register && !fits(fp_distance))) return;
    ends_by_fp = true;
    end.return_at = static_cast<std::uint16_t>(distance / kWord);
    end.frame_pointer_at = is_in_register ? TrailStep::kNone : static_cast<std::uint16_t>(fp_distance / kWord);
    end.frame_pointer = 0;
  }

 private:
  static constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);

  bool fits(std::uintptr_t distance) noexcept {
    return usable = usable && distance % kWord == 0 && distance / kWord < TrailStep::kNone;
  }
  TrailStep* open_step() noexcept {
    if (is_open_) return &steps[count];
    if (count == kMaxSteps) {
      usable = false;
      return nullptr;
    }
    is_open_ = true;
    steps[count] = {TrailStep::kNone, TrailStep::kNone, 0};
    return &steps[count];
  }

  bool is_open_ = false;  // steps[count] has a frame pointer and waits for its return address
};

}  // namespace arenascan::alloc
