#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>
#include <link.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include "alloc/cfi.h"
#include "alloc/os.h"
#include "alloc/unwind.h"

// The C library's name for the top of the main thread's stack.
extern "C" void* __libc_stack_end;  // NOLINT(*reserved-identifier)

namespace arenascan::alloc {

constinit std::atomic<std::uint32_t> g_module_generation{0};

namespace {

// A rule in one word, so that it is read and written whole:
//   bits 0-1 kind, 2-3 base, 4-5 saved_fp, 6 always set, 8-15 generation, 16-39 CFA offset, 40-63 saved rbp's offset
std::uint64_t pack(const UnwindRule& rule, std::uint8_t generation) noexcept {
  constexpr std::uint64_t k24Bits = 0xFFFFFF;
  return static_cast<std::uint64_t>(rule.kind) | static_cast<std::uint64_t>(rule.base) << 2 |
         static_cast<std::uint64_t>(rule.saved_fp) << 4 | std::uint64_t{1} << 6 | std::uint64_t{generation} << 8 |
         (static_cast<std::uint64_t>(rule.cfa_offset) & k24Bits) << 16 |
         static_cast<std::uint64_t>(rule.fp_offset) << 40;
}

UnwindRule unpack(std::uint64_t word) noexcept {
  UnwindRule rule;
  rule.kind = static_cast<UnwindRule::Kind>(word & 3);
  rule.base = static_cast<UnwindRule::Base>(word >> 2 & 3);
  rule.saved_fp = static_cast<UnwindRule::SavedFp>(word >> 4 & 3);
  rule.cfa_offset = static_cast<std::int32_t>(static_cast<std::int64_t>(word << 24) >> 40);
  rule.fp_offset = static_cast<std::int32_t>(static_cast<std::int64_t>(word) >> 40);
  return rule;
}

// Writers: any thread that meets an address first. The key is claimed once, by compare-and-swap, and never changes; the
// rule is one word, stored after. A reader that finds the key but no rule yet, or one of an older generation, works it
// out itself. Relaxed throughout: a rule refers to no other memory.
struct Entry {
  std::atomic<std::uintptr_t> address;
  std::atomic<std::uint64_t> rule;
};

constexpr std::size_t kEntryCount = std::size_t{1} << 16;
constexpr std::size_t kProbes = 8;
constinit std::array<Entry, kEntryCount> g_rules{};

// Top of the calling thread's stack as far as it is known; 0 when not.
[[gnu::tls_model("initial-exec")]] constinit thread_local std::uintptr_t t_stack_end = 0;

// Where the compiler says how to unwind this code; null when nobody does, as of a JIT's code or a module's own
// assembly.
const std::byte* find_entry(std::uintptr_t address) noexcept {
  dl_find_object module{};
  if (_dl_find_object(reinterpret_cast<void*>(address), &module) != 0 || module.dlfo_eh_frame == nullptr)
    return nullptr;
  const std::byte* const fde = find_fde(static_cast<const std::byte*>(module.dlfo_eh_frame), address);
  return fde == nullptr || is_elsewhere(fde, address) ? nullptr : fde;
}

UnwindRule find_rule(std::uintptr_t address) noexcept {
  const std::byte* const fde = find_entry(address);
  return fde == nullptr ? UnwindRule{} : evaluate(fde, address);
}

UnwindRule rule_for(std::uintptr_t address) noexcept {
  constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;
  // Read before a rule is worked out, so that a rule of an unloaded module is never taken for current.
  const auto generation = static_cast<std::uint8_t>(g_module_generation.load(std::memory_order_relaxed));
  const std::size_t first = address * kGoldenRatio >> 48;
  Entry* free = nullptr;
  for (std::size_t i = 0; i < kProbes; ++i) {
    Entry& entry = g_rules[(first + i) % kEntryCount];
    const std::uintptr_t key = entry.address.load(std::memory_order_relaxed);
    if (key == address) {
      const std::uint64_t word = entry.rule.load(std::memory_order_relaxed);
      if (word != 0 && static_cast<std::uint8_t>(word >> 8) == generation) [[likely]] {
        return unpack(word);
      }
      free = &entry;
      break;
    }
    if (key == 0) {
      free = &entry;
      break;
    }
  }
  const UnwindRule rule = find_rule(address);
  if (free == nullptr) return rule;
  std::uintptr_t key = 0;
  if (free->address.compare_exchange_strong(key, address, std::memory_order_relaxed) || key == address) {
    free->rule.store(pack(rule, generation), std::memory_order_relaxed);
  }
  return rule;
}

std::uintptr_t known_stack_end() noexcept {
  if (t_stack_end == 0 && os_thread_id() == os_process_id()) {
    t_stack_end = reinterpret_cast<std::uintptr_t>(__libc_stack_end);
  }
  return t_stack_end;
}

// One walk, and its trail. Every read is at or above the current frame and, where the stack's end is known, below it.
class Walk {
 public:
  Walk(const FrameState& start, Trail& trail) noexcept : frame_(start), origin_(start.sp), trail_(trail) {}

  enum class Step : std::uint8_t {
    kStepped,
    kEnd,      // the outermost frame, as its code's table says, or the last one of a chain of frame pointers
    kLost,     // there is no going on, though nothing says that it ends here
    kComplex,  // only libunwind can
  };

  Step step() noexcept {
    const bool is_exact = std::exchange(is_exact_, false);
    const std::uintptr_t address = is_exact ? frame_.pc : frame_.pc - 1;
    const UnwindRule rule = rule_for(address);
    switch (rule.kind) {
      case UnwindRule::Kind::kFrame: return step_by(rule, is_exact ? frame_.sp - kRedZoneBytes : frame_.sp);
      case UnwindRule::Kind::kSignal: return step_over_signal();
      case UnwindRule::Kind::kEnd: return Step::kEnd;
      case UnwindRule::Kind::kComplex: break;
    }
    return find_entry(address) != nullptr ? Step::kComplex : step_by_frame_pointer();
  }

  // For code without an unwind entry (libunwind could do no better), and where that is asked for: frame pointers are
  // believed when they look like some, on a stack whose end is known.
  Step step_by_frame_pointer() noexcept {
    const std::uintptr_t fp = frame_.fp;
    if (!unwind_follows(fp, frame_.sp)) {
      if (fp_place_ != kCompared) {
        trail_.end_by_frame_pointer(frame_.sp - origin_, fp_place_ == kInRegister, fp_place_ - origin_);
      }
      return Step::kEnd;
    }
    compare_fp();
    return move_to(fp + 2 * kWord, word_at(fp), fp);
  }

  [[nodiscard]] std::uintptr_t pc() const noexcept { return frame_.pc; }

 private:
  static constexpr std::uintptr_t kRedZoneBytes = 128;
  static constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);

  static std::uintptr_t word_at(std::uintptr_t address) noexcept {
    return *reinterpret_cast<const std::uintptr_t*>(address);
  }

  // Whether a word may lie at `address`: not below the frame, aligned, and within the stack.
  [[nodiscard]] bool plausible(std::uintptr_t address) const noexcept { return plausible(address, frame_.sp); }
  [[nodiscard]] bool plausible(std::uintptr_t address, std::uintptr_t lowest) const noexcept {
    if (address < lowest || address % kWord != 0) return false;
    const std::uintptr_t end = t_stack_end;
    return frame_.sp > end || address < end;  // beyond the end it knows, the walk is on another stack
  }

  // Where the walk goes from here depends on the frame pointer: the trail has to compare it.
  void compare_fp() noexcept {
    if (fp_place_ == kInRegister) {
      trail_.compares_fp = true;
    } else if (fp_place_ != kCompared) {
      trail_.add_frame_pointer(fp_place_ - origin_, frame_.fp - origin_);
    }
    fp_place_ = kCompared;
  }

  // To the frame that begins at `cfa`, with the return address just below it; its frame pointer was read at `fp_place`.
  Step move_to(std::uintptr_t cfa, std::uintptr_t fp, std::uintptr_t fp_place) noexcept {
    trail_.add_return(cfa - kWord - origin_);
    frame_ = {word_at(cfa - kWord), cfa, fp};
    fp_place_ = fp_place;
    return frame_.pc == 0 ? Step::kLost : Step::kStepped;
  }

  // `lowest` is where the saved rbp may lie: in an interrupted epilogue that is below rsp, in the red zone.
  Step step_by(const UnwindRule& rule, std::uintptr_t lowest) noexcept {
    if (rule.base != UnwindRule::Base::kSp || rule.saved_fp == UnwindRule::SavedFp::kAtFp) compare_fp();
    std::uintptr_t cfa = rule.base == UnwindRule::Base::kSp ? frame_.sp : frame_.fp;
    cfa += static_cast<std::uintptr_t>(std::intptr_t{rule.cfa_offset});
    if (rule.base == UnwindRule::Base::kWordAtFp) {
      if (!plausible(cfa)) return Step::kLost;
      trail_.add_frame_pointer(cfa - origin_, word_at(cfa) - origin_);
      cfa = word_at(cfa);
    }
    if (cfa <= frame_.sp || !plausible(cfa - kWord)) return Step::kLost;
    if (rule.saved_fp == UnwindRule::SavedFp::kUnchanged) return move_to(cfa, frame_.fp, fp_place_);
    const std::uintptr_t origin = rule.saved_fp == UnwindRule::SavedFp::kBelowCfa ? cfa : frame_.fp;
    const std::uintptr_t at = origin + static_cast<std::uintptr_t>(std::intptr_t{rule.fp_offset});
    if (!plausible(at, lowest)) return Step::kLost;
    return move_to(cfa, word_at(at), at);
  }

  // The kernel left the interrupted registers where the handler's return finds them.
  Step step_over_signal() noexcept {
    trail_.usable = false;
    const auto* const context = reinterpret_cast<const ucontext_t*>(frame_.sp);
    const auto reg = [context](int which) { return static_cast<std::uintptr_t>(context->uc_mcontext.gregs[which]); };
    frame_ = {reg(REG_RIP), reg(REG_RSP), reg(REG_RBP)};
    is_exact_ = true;
    return frame_.pc == 0 ? Step::kLost : Step::kStepped;
  }

  static constexpr std::uintptr_t kInRegister = 0;
  static constexpr std::uintptr_t kCompared = 1;

  FrameState frame_;
  bool is_exact_ = false;                  // pc is where a signal interrupted, not behind a call
  std::uintptr_t fp_place_ = kInRegister;  // where the current frame pointer was read
  std::uintptr_t origin_;                  // where the walk started
  Trail& trail_;
};

}  // namespace

bool unwind_follows(std::uintptr_t fp, std::uintptr_t sp) noexcept {
  constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
  const std::uintptr_t end = known_stack_end();
  return sp < end && fp >= sp && fp % kWord == 0 && fp < end && end - fp >= 2 * kWord;
}

std::size_t unwind_slow(std::uintptr_t* frames, std::size_t capacity) noexcept {
  const int saved_errno = errno;
  unw_context_t context;
  unw_cursor_t cursor;
  std::size_t count = 0;
  if (unw_getcontext(&context) == 0 && unw_init_local(&cursor, &context) == 0) {
    while (count < capacity && unw_step(&cursor) > 0) {
      unw_word_t pc = 0;
      if (unw_get_reg(&cursor, UNW_REG_IP, &pc) != 0 || pc == 0) break;
      frames[count++] = pc;
    }
  }
  errno = saved_errno;
  return count;
}

std::size_t unwind_slow_from(std::uintptr_t pc, std::uintptr_t* frames, std::size_t capacity) noexcept {
  std::array<std::uintptr_t, kMaxFrames + 16> all;  // some of ours come first
  const std::size_t found = unwind_slow(all.data(), all.size());
  const std::uintptr_t* const first = std::find(all.data(), all.data() + found, pc);
  const std::size_t kept = std::min(capacity, static_cast<std::size_t>(all.data() + found - first));
  std::copy_n(first, kept, frames);
  return kept;
}

std::size_t unwind(const FrameState& state, std::uintptr_t* frames, std::size_t capacity, Trail& trail,
                   UnwindBy by) noexcept {
  Walk walk(state, trail);
  for (std::size_t count = 0; count < capacity;) {
    frames[count++] = walk.pc();
    if (count == capacity) return count;
    switch (by == UnwindBy::kRules ? walk.step() : walk.step_by_frame_pointer()) {
      case Walk::Step::kStepped: continue;
      case Walk::Step::kEnd: return count;
      case Walk::Step::kLost: trail.usable = false; return count;
      case Walk::Step::kComplex: break;
    }
    trail.usable = false;
    const std::size_t found = unwind_slow_from(state.pc, frames, capacity);
    return found == 0 ? count : found;
  }
  return 0;
}

void unwind_set_stack_end(std::uintptr_t end) noexcept { t_stack_end = end; }

bool unwind_rule_is_right_for_test(std::uintptr_t address) noexcept { return rule_for(address) == find_rule(address); }

std::span<const std::byte> unwind_memory() noexcept { return std::as_bytes(std::span(g_rules)); }

void unwind_forget_modules() noexcept {
  const std::uint32_t generation = g_module_generation.fetch_add(1, std::memory_order_relaxed) + 1;
  if (static_cast<std::uint8_t>(generation) != 0) return;
  for (Entry& entry : g_rules) entry.rule.store(0, std::memory_order_relaxed);  // numbers come round: forget by hand
}

}  // namespace arenascan::alloc
