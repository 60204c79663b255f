#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "alloc/os.h"
#include "scan/interrupted_call.h"

namespace arenascan::scan {
namespace {

// A function that makes a call lies so close below the frame that announced it.
constexpr std::uintptr_t kCloseBytes = 1024;
constexpr std::uint64_t kAll = ~std::uint64_t{0};

// Writers and readers: the thread itself and, between two of its instructions, its handler; signal fences where the
// order matters.
[[gnu::tls_model("initial-exec")]] constinit thread_local InterruptedCall::State t_call;

bool is_in_call(const ucontext_t& context) noexcept {
  constexpr std::uint16_t kSystemCall = 0x050F;  // the instruction, as it lies in memory
  const auto behind = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
  const auto stack = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
  if (context.uc_mcontext.gregs[REG_RAX] != -EINTR || t_call.frame - stack > kCloseBytes) return false;
  if (behind % alloc::kOsPageBytes < sizeof(kSystemCall)) return false;  // what lies before may not be mapped
  std::uint16_t instruction = 0;
  std::memcpy(&instruction, reinterpret_cast<const void*>(behind - sizeof(instruction)), sizeof(instruction));
  return instruction == kSystemCall;
}

// Another one than that of the stop: the next stop may have come already. While all are blocked.
bool is_signal_pending(std::uint64_t mask, int stop_signal) noexcept {
  std::uint64_t pending = 0;
  const std::uint64_t stop = std::uint64_t{1} << (stop_signal - 1);
  return syscall(SYS_rt_sigpending, &pending, sizeof(pending)) != 0 || (pending & ~mask & ~stop) != 0;
}

}  // namespace

InterruptedCall::InterruptedCall() noexcept : outer_(t_call) {
  t_call = {};
  std::atomic_signal_fence(std::memory_order_seq_cst);
  t_call.frame = reinterpret_cast<std::uintptr_t>(this);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

InterruptedCall::~InterruptedCall() {
  static_cast<void>(let_signals_in());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  t_call = outer_;
}

bool InterruptedCall::by_stop() noexcept {
  const bool is_interrupted = t_call.is_interrupted;
  t_call.is_interrupted = false;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return is_interrupted;
}

std::uint64_t InterruptedCall::mask() const noexcept { return t_call.mask; }

bool InterruptedCall::let_signals_in() noexcept {
  if (!t_call.has_blocked) return false;
  const alloc::ErrnoKeeper keeper;
  const std::uint64_t mask = t_call.mask;
  const bool are_any = is_signal_pending(mask, t_call.stop_signal);
  t_call.has_blocked = false;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof(mask));
  return are_any;
}

void note_stop(int signal, void* context) noexcept {
  auto& interrupted = *static_cast<ucontext_t*>(context);
  if (!is_in_call(interrupted)) return;
  std::uint64_t mask = t_call.mask;
  if (!t_call.has_blocked) std::memcpy(&mask, &interrupted.uc_sigmask, sizeof(mask));
  std::memcpy(&interrupted.uc_sigmask, &kAll, sizeof(kAll));
  t_call.mask = mask;
  t_call.stop_signal = signal;
  t_call.has_blocked = true;
  t_call.is_interrupted = true;
}

}  // namespace arenascan::scan
