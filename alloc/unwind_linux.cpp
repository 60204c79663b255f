#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>
#include <link.h>
#include <ucontext.h>
#include <unistd.h>

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

// Raised when a module goes; read before a rule is worked out, so that a rule of an unloaded module is never taken for
// current. Relaxed: a thread that runs code of the new module has synchronised with its loading.
constinit std::atomic<std::uint8_t> g_generation{0};

// Top of the calling thread's stack as far as it is known; 0 when not.
[[gnu::tls_model("initial-exec")]] constinit thread_local std::uintptr_t t_stack_end = 0;

UnwindRule find_rule(std::uintptr_t address) noexcept {
  dl_find_object module{};
  if (_dl_find_object(reinterpret_cast<void*>(address), &module) != 0 || module.dlfo_eh_frame == nullptr) return {};
  const std::byte* const fde = find_fde(static_cast<const std::byte*>(module.dlfo_eh_frame), address);
  return fde == nullptr ? UnwindRule{} : evaluate(fde, address);
}

UnwindRule rule_for(std::uintptr_t address) noexcept {
  constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;
  const std::uint8_t generation = g_generation.load(std::memory_order_relaxed);
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

// One walk. Every read is at or above the current frame and, where the stack's end is known, below it.
class Walk {
 public:
  explicit Walk(const FrameState& start) noexcept : frame_(start) {}

  enum class Step : std::uint8_t { kStepped, kEnd, kComplex };

  Step step() noexcept {
    const bool is_exact = std::exchange(is_exact_, false);
    const UnwindRule rule = rule_for(is_exact ? frame_.pc : frame_.pc - 1);
    switch (rule.kind) {
      case UnwindRule::Kind::kFrame: return step_by(rule, is_exact ? frame_.sp - kRedZoneBytes : frame_.sp);
      case UnwindRule::Kind::kSignal: return step_over_signal();
      case UnwindRule::Kind::kEnd: return Step::kEnd;
      case UnwindRule::Kind::kComplex: break;
    }
    return has_module(frame_.pc) ? Step::kComplex : step_by_frame_pointer();
  }

  [[nodiscard]] std::uintptr_t pc() const noexcept { return frame_.pc; }

 private:
  static constexpr std::uintptr_t kRedZoneBytes = 128;

  static std::uintptr_t word_at(std::uintptr_t address) noexcept {
    return *reinterpret_cast<const std::uintptr_t*>(address);
  }

  // Whether a word may lie at `address`: not below the frame, aligned, and within the stack.
  [[nodiscard]] bool plausible(std::uintptr_t address) const noexcept { return plausible(address, frame_.sp); }
  [[nodiscard]] bool plausible(std::uintptr_t address, std::uintptr_t lowest) const noexcept {
    if (address < lowest || address % sizeof(std::uintptr_t) != 0) return false;
    const std::uintptr_t end = t_stack_end;
    return frame_.sp >= end || address < end;  // beyond the end it knows, the walk is on another stack
  }

  // `lowest` is where the saved rbp may lie: in an interrupted epilogue that is below rsp, in the red zone.
  Step step_by(const UnwindRule& rule, std::uintptr_t lowest) noexcept {
    std::uintptr_t cfa = rule.base == UnwindRule::Base::kSp ? frame_.sp : frame_.fp;
    cfa += static_cast<std::uintptr_t>(std::intptr_t{rule.cfa_offset});
    if (rule.base == UnwindRule::Base::kWordAtFp) {
      if (!plausible(cfa)) return Step::kEnd;
      cfa = word_at(cfa);
    }
    if (cfa <= frame_.sp || !plausible(cfa - sizeof(std::uintptr_t))) return Step::kEnd;
    std::uintptr_t fp = frame_.fp;
    if (rule.saved_fp != UnwindRule::SavedFp::kUnchanged) {
      const std::uintptr_t origin = rule.saved_fp == UnwindRule::SavedFp::kBelowCfa ? cfa : fp;
      const std::uintptr_t at = origin + static_cast<std::uintptr_t>(std::intptr_t{rule.fp_offset});
      if (!plausible(at, lowest)) return Step::kEnd;
      fp = word_at(at);
    }
    frame_ = {word_at(cfa - sizeof(std::uintptr_t)), cfa, fp};
    return frame_.pc == 0 ? Step::kEnd : Step::kStepped;
  }

  // The kernel left the interrupted registers where the handler's return finds them.
  Step step_over_signal() noexcept {
    const auto* const context = reinterpret_cast<const ucontext_t*>(frame_.sp);
    const auto reg = [context](int which) { return static_cast<std::uintptr_t>(context->uc_mcontext.gregs[which]); };
    frame_ = {reg(REG_RIP), reg(REG_RSP), reg(REG_RBP)};
    is_exact_ = true;
    return frame_.pc == 0 ? Step::kEnd : Step::kStepped;
  }

  // Code that no module owns (a JIT's): believed to keep frame pointers when they look like it, on a stack whose end is
  // known.
  Step step_by_frame_pointer() noexcept {
    const std::uintptr_t end = known_stack_end();
    const std::uintptr_t fp = frame_.fp;
    if (frame_.sp >= end || !plausible(fp) || fp + 2 * sizeof(std::uintptr_t) > end) return Step::kEnd;
    frame_ = {word_at(fp + sizeof(std::uintptr_t)), fp + 2 * sizeof(std::uintptr_t), word_at(fp)};
    return frame_.pc == 0 ? Step::kEnd : Step::kStepped;
  }

  static bool has_module(std::uintptr_t address) noexcept {
    dl_find_object module{};
    return _dl_find_object(reinterpret_cast<void*>(address), &module) == 0;
  }

  FrameState frame_;
  bool is_exact_ = false;  // pc is where a signal interrupted, not behind a call
};

}  // namespace

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

std::size_t unwind(const FrameState& state, std::uintptr_t* frames, std::size_t capacity) noexcept {
  Walk walk(state);
  for (std::size_t count = 0; count < capacity;) {
    frames[count++] = walk.pc();
    if (count == capacity) return count;
    switch (walk.step()) {
      case Walk::Step::kStepped: continue;
      case Walk::Step::kEnd: return count;
      case Walk::Step::kComplex: break;
    }
    // The general unwinder starts here, a few frames further in: keep what lies outwards of the frame asked for.
    std::array<std::uintptr_t, kMaxFrames + 16> all;
    const std::size_t found = unwind_slow(all.data(), all.size());
    for (std::size_t from = 0; from < found; ++from) {
      if (all[from] != state.pc) continue;
      std::size_t kept = 0;
      while (kept < capacity && from + kept < found) {
        frames[kept] = all[from + kept];
        ++kept;
      }
      return kept;
    }
    return count;
  }
  return 0;
}

void unwind_set_stack_end(std::uintptr_t end) noexcept { t_stack_end = end; }

void unwind_forget_modules() noexcept {
  const auto generation = static_cast<std::uint8_t>(g_generation.fetch_add(1, std::memory_order_relaxed) + 1);
  if (generation != 0) return;
  for (Entry& entry : g_rules) entry.rule.store(0, std::memory_order_relaxed);  // numbers come round: forget by hand
}

}  // namespace arenascan::alloc
