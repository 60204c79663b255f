#include <cpuid.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <iterator>

#include "alloc/check.h"
#include "alloc/os.h"
#include "scan/world.h"

namespace arenascan::scan {
namespace {

// One for each thread of a stop. Everything but `answer` is written by one side before, and read by the other after, an
// exchange through `answer`.
struct alignas(64) Slot {
  std::atomic<std::uint32_t>
      generation;  // writer: scanner, before the signal is queued; reader: handler. The queue orders them
  std::atomic<std::uint32_t> answer;  // writer: handler, release, when `thread` is filled in; reader: scanner, acquire
  int thread_id;
  StoppedThread thread;
};

constexpr std::size_t kMaxThreads = std::size_t{1} << 16;
constexpr std::uint64_t kWaitSliceNs = 5'000'000;
constexpr int kSignalsBelowTop = 3;

// Reserved by the first stop and never given back, so that a late signal finds its slot.
Slot* g_slots = nullptr;
std::size_t g_slots_committed = 0;
StoppedThread* g_stopped = nullptr;  // dense copy for World::threads()

// Generation of the stop under way; odd: stopped, even: running. Writer: scanner. Readers: handlers, which wait on it.
// Release/acquire, so that nothing a resumed thread does comes before the scanner's last read.
constinit std::atomic<std::uint32_t> g_generation{0};

// Raised by every handler that has answered, release; the scanner waits on it.
constinit std::atomic<std::uint32_t> g_answers{0};

// Writer: the first stop. Readers: later stops, and any thread that asks for the intended signal; relaxed, since a
// thread that sees it late still blocks the one that was tried first.
constinit std::atomic<int> g_signal{0};

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) noexcept {
  return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

std::uintptr_t own_thread_pointer() noexcept {
  std::uintptr_t pointer = 0;
  asm("mov %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

// Where the processor saves a set of registers, from the beginning of the vector state.
struct Component {
  std::uint32_t offset, bytes;
};
constexpr unsigned kComponents = 20;
std::array<Component, kComponents> component_layout() noexcept {
  std::array<Component, kComponents> layout{};
  for (unsigned i = 2; i < kComponents; ++i) {
    std::uint32_t unused = 0;
    __cpuid_count(0xD, i, layout[i].bytes, layout[i].offset, unused, unused);
  }
  return layout;
}

bool is_slot(const Slot* slot) noexcept {
  const auto offset = reinterpret_cast<std::uintptr_t>(slot) - reinterpret_cast<std::uintptr_t>(g_slots);
  return g_slots != nullptr && offset < kMaxThreads * sizeof(Slot) && offset % sizeof(Slot) == 0;
}

void wait_while_stopped(int, siginfo_t* info, void* opaque) {
  const int saved_errno = errno;
  Slot* const slot = static_cast<Slot*>(info->si_value.sival_ptr);
  if (info->si_code != SI_QUEUE || info->si_pid != alloc::os_process_id() || !is_slot(slot)) return;
  const std::uint32_t generation = slot->generation.load(std::memory_order_acquire);
  if (slot->thread_id == alloc::os_thread_id() && generation == g_generation.load(std::memory_order_acquire)) {
    const auto& context = *static_cast<const ucontext_t*>(opaque);
    slot->thread = {slot->thread_id,
                    static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]),
                    own_thread_pointer(),
                    reinterpret_cast<std::uintptr_t>(std::begin(context.uc_mcontext.gregs)),
                    reinterpret_cast<std::uintptr_t>(std::end(context.uc_mcontext.gregs)),
                    reinterpret_cast<std::uintptr_t>(context.uc_mcontext.fpregs)};
    slot->answer.store(generation, std::memory_order_release);
    g_answers.fetch_add(1, std::memory_order_release);
    futex(g_answers, FUTEX_WAKE, 1, nullptr);
    while (g_generation.load(std::memory_order_acquire) == generation) {
      futex(g_generation, FUTEX_WAIT, generation, nullptr);
    }
  }
  errno = saved_errno;
}

bool prepare_slots(std::size_t count) noexcept {
  if (g_slots == nullptr) {
    g_slots = static_cast<Slot*>(alloc::os_reserve(kMaxThreads * sizeof(Slot), alloc::kOsPageBytes));
    g_stopped =
        static_cast<StoppedThread*>(alloc::os_reserve(kMaxThreads * sizeof(StoppedThread), alloc::kOsPageBytes));
    if (g_slots == nullptr || g_stopped == nullptr) return false;
  }
  if (count <= g_slots_committed) return true;
  if (count > kMaxThreads) return false;
  const std::size_t target = count < 512 ? 512 : kMaxThreads;
  if (!alloc::os_commit(g_slots, target * sizeof(Slot))) return false;
  if (!alloc::os_commit(g_stopped,
                        (target * sizeof(StoppedThread) + alloc::kOsPageBytes - 1) & ~(alloc::kOsPageBytes - 1))) {
    return false;
  }
  g_slots_committed = target;
  return true;
}

// Installs the handler the first time; later checks that it is still in place. A signal that the program already uses
// is left to it: the next lower one that nobody uses is taken.
Incomplete prepare_signal(int wanted) noexcept {
  struct sigaction current {};
  if (const int taken = g_signal.load(std::memory_order_relaxed); taken != 0) {
    sigaction(taken, nullptr, &current);
    return current.sa_sigaction == wait_while_stopped ? Incomplete::kNo : Incomplete::kSignalTaken;
  }
  for (int signal = World::intended_signal(wanted); signal >= SIGRTMIN; --signal) {
    if (sigaction(signal, nullptr, &current) != 0 || (current.sa_flags & SA_SIGINFO) != 0 ||
        current.sa_handler != SIG_DFL) {
      if (wanted != 0) return Incomplete::kSignalTaken;
      continue;
    }
    struct sigaction ours {};
    ours.sa_sigaction = wait_while_stopped;
    ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&ours.sa_mask);
    if (sigaction(signal, &ours, nullptr) != 0) return Incomplete::kSignalTaken;
    g_signal.store(signal, std::memory_order_relaxed);
    return Incomplete::kNo;
  }
  return Incomplete::kSignalTaken;
}

bool queue_signal(int thread_id, Slot* slot) noexcept {
  siginfo_t info{};
  info.si_signo = g_signal.load(std::memory_order_relaxed);
  info.si_code = SI_QUEUE;
  info.si_pid = alloc::os_process_id();
  info.si_value.sival_ptr = slot;
  return syscall(SYS_rt_tgsigqueueinfo, alloc::os_process_id(), thread_id, info.si_signo, &info) == 0;
}

// The text of /proc/self/task/THREAD/FILE, or -1 when the thread is gone.
std::ptrdiff_t read_task_file(int thread_id, std::string_view file, char* buffer, std::size_t capacity) noexcept {
  alloc::FixedText path;
  path.text("/proc/self/task/").decimal(static_cast<std::uint64_t>(thread_id)).text("/").text(file).text({"\0", 1});
  return alloc::os_read_file(path.view().data(), buffer, capacity);
}

// Whether the thread can never answer because it has ended: it is gone, or a zombie (a main thread that left early).
bool has_ended(int thread_id) noexcept {
  char text[512];
  const std::ptrdiff_t length = read_task_file(thread_id, "stat", text, sizeof(text));
  if (length <= 0) return true;
  const std::string_view stat(text, static_cast<std::size_t>(length));
  const std::size_t state = stat.rfind(") ");
  return state != std::string_view::npos && state + 2 < stat.size() &&
         (stat[state + 2] == 'Z' || stat[state + 2] == 'X');
}

// Calls visit(thread id) for each entry of /proc/self/task until it returns false. False when it cannot be read.
template <typename Visit>
bool for_each_task(Visit&& visit) noexcept {
  const int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  alignas(8) char buffer[4096];
  long got = 0;
  bool go_on = true;
  while (go_on && (got = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
    for (long at = 0; go_on && at < got;) {
      constexpr std::size_t kLengthOffset = 16;  // of struct linux_dirent64
      constexpr std::size_t kNameOffset = 19;
      std::uint16_t length = 0;
      std::memcpy(&length, buffer + at + kLengthOffset, sizeof(length));
      const char* const name = buffer + at + kNameOffset;
      int thread_id = 0;
      std::from_chars(name, name + strnlen(name, 16), thread_id);
      if (thread_id > 0) go_on = visit(thread_id);
      at += length;
    }
  }
  close(fd);
  return got >= 0;
}

class Stopper {
 public:
  explicit Stopper(std::uint64_t timeout_ns) noexcept
      : deadline_ns_(alloc::os_monotonic_ns() + timeout_ns), self_(alloc::os_thread_id()) {}

  World::Outcome run(std::size_t& stopped) noexcept {
    generation_ = g_generation.fetch_add(1, std::memory_order_acq_rel) + 1;
    for (std::size_t before = SIZE_MAX; before != count_;) {
      before = count_;
      World::Outcome outcome = signal_new_threads();
      if (outcome.problem == Incomplete::kNo) outcome = wait_for_answers();
      if (outcome.problem != Incomplete::kNo) return outcome;
    }
    stopped = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (g_slots[i].answer.load(std::memory_order_acquire) == generation_) g_stopped[stopped++] = g_slots[i].thread;
    }
    return {};
  }

 private:
  World::Outcome signal_new_threads() noexcept {
    World::Outcome outcome;
    const bool read = for_each_task([&](int thread_id) {
      if (thread_id == self_ || is_known(thread_id)) return true;
      if (!prepare_slots(count_ + 1)) {
        outcome = {Incomplete::kNoMemory, thread_id};
        return false;
      }
      Slot& slot = g_slots[count_];
      slot.thread_id = thread_id;
      slot.answer.store(0, std::memory_order_relaxed);
      slot.generation.store(generation_, std::memory_order_release);
      if (queue_signal(thread_id, &slot)) {
        ++count_;
      } else if (errno != ESRCH) {
        outcome = {Incomplete::kThreadNotStopped, thread_id};
        return false;
      }
      return true;
    });
    return read ? outcome : World::Outcome{Incomplete::kMapsUnreadable, 0};
  }

  World::Outcome wait_for_answers() noexcept {
    for (;;) {
      const std::uint32_t seen = g_answers.load(std::memory_order_acquire);
      const Slot* const missing = first_missing();
      if (missing == nullptr) return {};
      const std::uint64_t now = alloc::os_monotonic_ns();
      if (now >= deadline_ns_) return {Incomplete::kThreadNotStopped, missing->thread_id};
      const timespec slice{0, static_cast<long>(kWaitSliceNs)};
      if (futex(g_answers, FUTEX_WAIT, seen, &slice) != 0 && errno == ETIMEDOUT) forget_ended();
    }
  }

  [[nodiscard]] const Slot* first_missing() noexcept {
    while (answered_ < count_ && g_slots[answered_].answer.load(std::memory_order_acquire) != 0) ++answered_;
    return answered_ == count_ ? nullptr : &g_slots[answered_];
  }

  void forget_ended() noexcept {
    for (std::size_t i = answered_; i < count_; ++i) {
      if (g_slots[i].answer.load(std::memory_order_acquire) == 0 && has_ended(g_slots[i].thread_id)) {
        g_slots[i].answer.store(kEnded, std::memory_order_relaxed);
      }
    }
  }

  [[nodiscard]] bool is_known(int thread_id) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      if (g_slots[i].thread_id == thread_id) return true;
    }
    return false;
  }

  static constexpr std::uint32_t kEnded = 0xFFFFFFFE;  // no generation: those are odd

  std::uint64_t deadline_ns_;
  int self_;
  std::uint32_t generation_ = 0;
  std::size_t count_ = 0;
  std::size_t answered_ = 0;
};

}  // namespace

int World::intended_signal(int wanted) noexcept {
  if (const int taken = g_signal.load(std::memory_order_relaxed); taken != 0) return taken;
  return wanted != 0 ? wanted : SIGRTMAX - kSignalsBelowTop;
}

World::Outcome World::stop(const StopSettings& settings) noexcept {
  const alloc::ErrnoKeeper keeper;
  count_ = 0;
  threads_ = nullptr;
  Outcome outcome;
  outcome.problem = prepare_slots(1) ? prepare_signal(settings.signal) : Incomplete::kNoMemory;
  if (outcome.problem == Incomplete::kNo) {
    outcome = Stopper(settings.timeout_ns).run(count_);
    threads_ = g_stopped;
    if (outcome.problem != Incomplete::kNo) resume();
  }
  return outcome;
}

void World::resume() noexcept {
  const alloc::ErrnoKeeper keeper;
  count_ = 0;
  g_generation.fetch_add(1, std::memory_order_acq_rel);
  futex(g_generation, FUTEX_WAKE, INT32_MAX, nullptr);
}

StoppedThread calling_thread(std::uintptr_t stack_pointer) noexcept {
  return {alloc::os_thread_id(),
          stack_pointer,
          own_thread_pointer(),
          stack_pointer,
          stack_pointer + kSavedRegisterBytes,
          0};
}

// Facts: Intel's manual, volume 1, chapter 13 (layout of the XSAVE area; CPUID leaf 13 tells offsets and sizes); the
// kernel notes in the bytes reserved for software whether the area is an extended one (FP_XSTATE_MAGIC1).
VectorPieces vector_pieces(const StoppedThread& thread) noexcept {
  static const std::array<Component, kComponents> layout = component_layout();
  VectorPieces found;
  const std::uintptr_t area = thread.vector_state;
  if (area == 0) return found;
  const auto add = [&](std::uint32_t offset, std::uint32_t bytes) {
    if (found.count < VectorPieces::kMost) found.pieces[found.count++] = {area + offset, area + offset + bytes};
  };
  const auto word_at = [area](std::size_t offset) {
    std::uint64_t word = 0;
    std::memcpy(&word, reinterpret_cast<const void*>(area + offset), sizeof(word));
    return word;
  };
  constexpr std::size_t kSoftwareOffset = 464;  // magic 4, size of the whole area 4
  constexpr std::uint32_t kMagic = 0x46505853;
  constexpr std::size_t kInUseOffset = 512;  // which components hold anything
  const std::uint64_t software = word_at(kSoftwareOffset);
  const bool is_extended = static_cast<std::uint32_t>(software) == kMagic;
  const std::uint64_t in_use = is_extended ? word_at(kInUseOffset) : 3;
  if ((in_use & 1) != 0) add(32, 128);   // x87 and MMX
  if ((in_use & 6) != 0) add(160, 256);  // XMM; AVX saves its lower halves there
  for (unsigned component = 2; is_extended && component < kComponents; ++component) {
    constexpr unsigned kProtectionKeys = 9;
    if ((in_use >> component & 1) == 0 || component == kProtectionKeys) continue;
    const auto [offset, bytes] = layout[component];
    if (std::uint64_t{offset} + bytes <= software >> 32) add(offset, bytes);
  }
  return found;
}

}  // namespace arenascan::scan

// call_with_registers_saved(body, argument, stack_end): pushes the six registers that a function has to keep for its
// caller; rbp remembers the caller's stack meanwhile.
asm(R"(
  .text
  .globl arenascan_call_with_registers_saved
  .hidden arenascan_call_with_registers_saved
  .type arenascan_call_with_registers_saved, @function
arenascan_call_with_registers_saved:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  mov %rsp, %rax
  push %rbx
  .cfi_def_cfa_offset 24
  push %r12
  .cfi_def_cfa_offset 32
  push %r13
  .cfi_def_cfa_offset 40
  push %r14
  .cfi_def_cfa_offset 48
  push %r15
  .cfi_def_cfa_offset 56
  mov %rax, %rbp
  .cfi_def_cfa %rbp, 16
  mov %rdi, %rax
  mov %rsp, %rdi
  mov %rdx, %rsp
  call *%rax
  lea -40(%rbp), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size arenascan_call_with_registers_saved, .-arenascan_call_with_registers_saved
)");
