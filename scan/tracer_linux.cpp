#include <elf.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include <cerrno>

#include "alloc/meta_alloc.h"
#include "alloc/os.h"
#include "scan/bare_thread.h"
#include "scan/tasks.h"
#include "scan/tracer.h"

namespace arenascan::scan {

using alloc::os_monotonic_ns;

namespace {

constexpr std::size_t kStackBytes = std::size_t{32} << 10;
constexpr std::size_t kVectorBytes = std::size_t{16} << 10;  // all that processors have by now is 11 KiB
constexpr std::uint64_t kSliceNs = 5'000'000;

#if defined(ARENASCAN_CORE_ONLY)
constexpr bool kMayTrace = false;  // sanitizers have to know of every thread
#else
constexpr bool kMayTrace = true;
#endif

}  // namespace

struct Tracer::Tracee {
  Tracee* next;
  int thread_id;
  bool is_asked;    // by this stop
  bool is_seized;   // by the tracer, which waits for it to stop
  bool is_stopped;  // and traced
  Answer answer;
  int signal;  // that it was about to get
  user_regs_struct registers;
  alignas(16) unsigned char vectors[kVectorBytes];
};

bool Tracer::knows(int thread_id) const noexcept {
  for (const Tracee* tracee = tracees_; tracee != nullptr; tracee = tracee->next) {
    if (tracee->thread_id == thread_id) return true;
  }
  return false;
}

void Tracer::forget(int thread_id) noexcept {
  for (Tracee* tracee = tracees_; tracee != nullptr; tracee = tracee->next) {
    if (tracee->thread_id == thread_id) tracee->thread_id = 0;
  }
}

bool Tracer::awaits(int thread_id) const noexcept {
  for (const Tracee* tracee = tracees_; tracee != nullptr; tracee = tracee->next) {
    if (tracee->thread_id == thread_id && tracee->is_asked && tracee->is_seized) return !tracee->is_stopped;
  }
  return false;
}

Tracer::Tracee* Tracer::tracee_for(int thread_id) noexcept {
  Tracee* tracee = tracees_;
  while (tracee != nullptr && tracee->is_asked && tracee->thread_id != thread_id) tracee = tracee->next;
  if (tracee == nullptr) {
    tracee = static_cast<Tracee*>(alloc::meta_allocate(sizeof(Tracee)));
    if (tracee == nullptr) return nullptr;
    tracee->is_asked = false;
    tracee->next = tracees_;
    tracees_ = tracee;
  }
  if (!tracee->is_asked) tracee->is_seized = false;
  tracee->thread_id = thread_id;
  tracee->is_asked = true;
  tracee->is_stopped = false;
  return tracee;
}

bool Tracer::begin() noexcept {
  if (process_ != 0) return true;
  if (!kMayTrace || has_call_filter()) return false;
  if (stack_ == nullptr) stack_ = alloc::meta_allocate(kStackBytes);
  if (stack_ == nullptr) return false;
  parent_ = alloc::os_process_id();
  turn_.store(kIdle, std::memory_order_relaxed);
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED;
  const int made = begin_bare_thread(serve, this, stack_, kStackBytes, flags, nullptr);
  if (made <= 0) return false;
  process_ = made;
  // Where only an ancestor may trace (Yama), it takes the leave of who is traced.
  bare_call(SYS_prctl, PR_SET_PTRACER, made);
  return true;
}

Tracer::Answer Tracer::stop(int thread_id, std::uint64_t deadline_ns, StoppedThread& thread) noexcept {
  if (!begin()) return Answer::kFailed;
  Tracee* const tracee = tracee_for(thread_id);
  if (tracee == nullptr) return Answer::kFailed;
  deadline_ns_ = deadline_ns;
  if (!ask(*tracee, Wish::kStop)) return Answer::kFailed;
  if (tracee->answer == Answer::kStopped) {
    const user_regs_struct& registers = tracee->registers;
    thread = {thread_id,
              registers.rsp,
              registers.fs_base,
              reinterpret_cast<std::uintptr_t>(&registers),
              reinterpret_cast<std::uintptr_t>(&registers + 1),
              reinterpret_cast<std::uintptr_t>(tracee->vectors)};
  }
  return tracee->answer;
}

void Tracer::let_go(int thread_id) noexcept {
  for (Tracee* tracee = tracees_; process_ != 0 && tracee != nullptr; tracee = tracee->next) {
    if (tracee->is_asked && tracee->thread_id == thread_id) ask(*tracee, Wish::kLetGo);
  }
}

bool Tracer::ask(Tracee& tracee, Wish wish) noexcept {
  asked_ = &tracee;
  wish_ = wish;
  turn_.store(kAsked, std::memory_order_release);
  wake(turn_, 1);
  return wait_for_answer();
}

// False: it is no more. It has a deadline of its own.
bool Tracer::wait_for_answer() noexcept {
  while (!wait_while(turn_, kAsked, os_monotonic_ns() + kSliceNs)) {
    if (bare_call(SYS_wait4, process_, 0, WNOHANG | __WCLONE) == 0) continue;
    process_ = 0;
    return false;
  }
  return true;
}

void Tracer::resume() noexcept {
  if (process_ != 0) {
    turn_.store(kLetGo, std::memory_order_release);
    wake(turn_, 1);
    while (bare_call(SYS_wait4, process_, 0, __WCLONE) == -EINTR) {
    }
    bare_call(SYS_prctl, PR_SET_PTRACER, 0);
    process_ = 0;
  }
  for (Tracee* tracee = tracees_; tracee != nullptr; tracee = tracee->next) tracee->is_asked = false;
}

// The tracer's side.

int Tracer::serve(void* opaque) noexcept {
  Tracer& self = *static_cast<Tracer*>(opaque);
  bare_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (bare_call(SYS_getppid) != self.parent_) return 0;
  for (;;) {
    std::uint32_t turn = self.turn_.load(std::memory_order_acquire);
    if (turn == kLetGo) break;
    if (turn == kAsked) {
      if (self.wish_ == Wish::kStop) {
        self.attach(*self.asked_);
      } else {
        detach(*self.asked_);
      }
      self.turn_.store(turn = kAnswered, std::memory_order_release);
      wake(self.turn_, 1);
    }
    wait_while(self.turn_, turn);
  }
  for (Tracee* tracee = self.tracees_; tracee != nullptr; tracee = tracee->next) detach(*tracee);
  return 0;
}

void Tracer::attach(Tracee& tracee) const noexcept {
  constexpr long kPauseNs = 50'000;
  constexpr unsigned kLooksAtOnce = 100;
  const long id = tracee.thread_id;
  tracee.answer = Answer::kFailed;
  if (!tracee.is_seized) {
    if (const long problem = bare_call(SYS_ptrace, PTRACE_SEIZE, id); problem < 0) {
      if (problem == -ESRCH) tracee.answer = Answer::kEnded;
      return;
    }
    tracee.is_seized = true;
    bare_call(SYS_ptrace, PTRACE_INTERRUPT, id);
  }
  int status = 0;
  long told = 0;
  for (unsigned looks = 0; (told = bare_call(SYS_wait4, id, bare_argument(&status), __WALL | WNOHANG)) == 0; ++looks) {
    if (os_monotonic_ns() >= deadline_ns_) return;
    const timespec pause{0, kPauseNs};
    if (looks < kLooksAtOnce) {
      bare_call(SYS_sched_yield);
    } else {
      bare_call(SYS_nanosleep, bare_argument(&pause));
    }
  }
  if (told < 0 || !WIFSTOPPED(status)) {
    tracee.answer = Answer::kEnded;
    return;
  }
  tracee.signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
  tracee.is_stopped = true;
  if (bare_call(SYS_ptrace, PTRACE_GETREGS, id, 0, bare_argument(&tracee.registers)) < 0) return;
  iovec vectors{tracee.vectors, sizeof(tracee.vectors)};
  if (bare_call(SYS_ptrace, PTRACE_GETREGSET, id, NT_X86_XSTATE, bare_argument(&vectors)) >= 0) {
    as_in_signal_frame(tracee.vectors, vectors.iov_len);
  } else if (bare_call(SYS_ptrace, PTRACE_GETFPREGS, id, 0, bare_argument(tracee.vectors)) >= 0) {
    as_in_signal_frame(tracee.vectors, sizeof(user_fpregs_struct));
  } else {
    return;
  }
  tracee.answer = Answer::kStopped;
}

void Tracer::detach(Tracee& tracee) noexcept {
  if (!tracee.is_asked || !tracee.is_stopped) return;
  bare_call(SYS_ptrace, PTRACE_DETACH, tracee.thread_id, 0, tracee.signal);
  tracee.is_seized = tracee.is_stopped = false;
}

}  // namespace arenascan::scan
