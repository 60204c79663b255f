// Functions of the C library that wait and that no signal handler lets go on waiting (signal(7)), wrapped: a scan stops
// threads by a signal, and the program must not see it. When a call was interrupted by a stop and by nothing else
// (interrupted_call.h), it goes on for the rest of its time, where it can in a call that lets signals in by itself; a
// signal of the program's own interrupts it as ever. Those that have no such form (semaphores, message queues,
// sigtimedwait, clock_nanosleep to a point in time) are called again as they were: a signal in the instant before is
// one that came before the call.
//
// What the kernel restarts by itself is not here (read, accept, wait, futexes without a timeout, ...), nor what the C
// library restarts (pthread_cond_timedwait, sigwait). Receiving from a socket with a timeout (SO_RCVTIMEO) is not
// either: how long it has waited is nowhere to be read.
//
// They may be called from signal handlers: no locks, nothing that is initialised by the first call. All are
// cancellation points: none may be noexcept.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "alloc/os.h"
#include "api/next_function.h"
#include "scan/interrupted_call.h"

using namespace arenascan;

// What fortified programs call; <poll.h> declares them for those only.
extern "C" int __poll_chk(pollfd* files, nfds_t count, int timeout_ms, std::size_t bytes);
extern "C" int __ppoll_chk(pollfd* files, nfds_t count, const timespec* timeout, const sigset_t* mask,
                           std::size_t bytes);

namespace {

using api::NextFunction;

constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

constinit NextFunction g_poll{"poll", &::poll};
constinit NextFunction g_ppoll{"ppoll", &::ppoll};
constinit NextFunction g_poll_checked{"__poll_chk", &::__poll_chk};
constinit NextFunction g_ppoll_checked{"__ppoll_chk", &::__ppoll_chk};
constinit NextFunction g_select{"select", &::select};
constinit NextFunction g_pselect{"pselect", &::pselect};
constinit NextFunction g_epoll_wait{"epoll_wait", &::epoll_wait};
constinit NextFunction g_epoll_pwait{"epoll_pwait", &::epoll_pwait};
constinit NextFunction g_epoll_pwait2{"epoll_pwait2", &::epoll_pwait2};
constinit NextFunction g_nanosleep{"nanosleep", &::nanosleep};
constinit NextFunction g_clock_nanosleep{"clock_nanosleep", &::clock_nanosleep};
constinit NextFunction g_thrd_sleep{"thrd_sleep", &::thrd_sleep};
constinit NextFunction g_sigtimedwait{"sigtimedwait", &::sigtimedwait};
constinit NextFunction g_sigwaitinfo{"sigwaitinfo", &::sigwaitinfo};
constinit NextFunction g_sigsuspend{"sigsuspend", &::sigsuspend};
constinit NextFunction g_pause{"pause", &::pause};
constinit NextFunction g_sem_timedwait{"sem_timedwait", &::sem_timedwait};
constinit NextFunction g_sem_clockwait{"sem_clockwait", &::sem_clockwait};
constinit NextFunction g_semop{"semop", &::semop};
constinit NextFunction g_semtimedop{"semtimedop", &::semtimedop};
constinit NextFunction g_msgrcv{"msgrcv", &::msgrcv};
constinit NextFunction g_msgsnd{"msgsnd", &::msgsnd};

template <typename... Functions>
void resolve(NextFunction<Functions>&... functions) noexcept {
  (static_cast<void>(functions.get()), ...);
}

[[gnu::constructor]] void resolve_all() noexcept {
  resolve(g_poll, g_ppoll, g_poll_checked, g_ppoll_checked, g_select, g_pselect, g_epoll_wait, g_epoll_pwait,
          g_epoll_pwait2, g_nanosleep, g_clock_nanosleep, g_thrd_sleep, g_sigtimedwait, g_sigwaitinfo, g_sigsuspend,
          g_pause, g_sem_timedwait, g_sem_clockwait, g_semop, g_semtimedop, g_msgrcv, g_msgsnd);
}

// What goes on is wanted only when a stop has interrupted what was first: first() as the program called it, again(call)
// for the rest.
template <typename First, typename Again>
auto wait_through(First&& first, Again&& again) {
  const int saved_errno = errno;
  scan::InterruptedCall call;
  auto result = first();
  while (result == -1 && errno == EINTR && call.by_stop()) {
    errno = saved_errno;
    result = again(call);
  }
  return result;
}

// False, and EINTR: one has come.
bool let_signals_in(scan::InterruptedCall& call) noexcept {
  if (!call.let_signals_in()) return true;
  errno = EINTR;
  return false;
}

// The same call again.
template <typename Wait>
auto wait_again(Wait&& wait) {
  return wait_through(wait, [&wait](scan::InterruptedCall& call) { return let_signals_in(call) ? wait() : -1; });
}

// What the thread blocks by its own will.
class Mask {
 public:
  explicit Mask(const scan::InterruptedCall& call) noexcept {
    sigemptyset(&set_);
    const std::uint64_t bits = call.mask();
    std::memcpy(&set_, &bits, sizeof(bits));
  }
  [[nodiscard]] const sigset_t* set() const noexcept { return &set_; }
  [[nodiscard]] const sigset_t* set_or(const sigset_t* wanted) const noexcept {
    return wanted != nullptr ? wanted : &set_;
  }

 private:
  sigset_t set_;
};

// A time that began when this was made.
class Timer {
 public:
  [[nodiscard]] timespec rest_of(const timespec& time) const noexcept {
    return rest_of(static_cast<std::uint64_t>(time.tv_sec) * kNsPerSecond + static_cast<std::uint64_t>(time.tv_nsec));
  }
  [[nodiscard]] timespec rest_of_ms(int ms) const noexcept {
    return rest_of(static_cast<std::uint64_t>(ms) * kNsPerMs);
  }
  [[nodiscard]] int ms_of(int ms) const noexcept {  // negative: for ever
    if (ms < 0) return ms;
    const timespec rest = rest_of_ms(ms);
    return static_cast<int>(rest.tv_sec * 1'000 +
                            (rest.tv_nsec + static_cast<long>(kNsPerMs) - 1) / static_cast<long>(kNsPerMs));
  }

 private:
  [[nodiscard]] timespec rest_of(std::uint64_t wanted_ns) const noexcept {
    const std::uint64_t waited_ns = alloc::os_monotonic_ns() - began_ns_;
    const std::uint64_t rest_ns = waited_ns < wanted_ns ? wanted_ns - waited_ns : 0;
    return {static_cast<time_t>(rest_ns / kNsPerSecond), static_cast<long>(rest_ns % kNsPerSecond)};
  }
  const std::uint64_t began_ns_ = alloc::os_monotonic_ns();
};

// again(rest, mask) for a function with a timespec; null: for ever. The program's is read only when the kernel has
// done so.
template <typename First, typename Again>
auto wait_time(const timespec* timeout, First&& first, Again&& again) {
  const Timer timer;
  return wait_through(first, [&](scan::InterruptedCall& call) {
    const timespec rest = timeout != nullptr ? timer.rest_of(*timeout) : timespec{};
    return again(timeout != nullptr ? &rest : nullptr, call);
  });
}

// first(rest) sleeps as nanosleep does: -1 and EINTR when it was interrupted, and `rest` is left then. To wait for no
// file is to sleep on. `left` may be where the program keeps the time that it wanted.
template <typename First>
int sleep_through(timespec* left, First&& first) {
  timespec rest{};
  const int result = wait_through([&] { return first(&rest); },
                                  [&](scan::InterruptedCall& call) {
                                    const Timer timer;
                                    const timespec wanted = rest;
                                    const int slept = g_ppoll.get()(nullptr, 0, &wanted, Mask(call).set());
                                    rest = timer.rest_of(wanted);
                                    return slept;
                                  });
  if (result == -1 && errno == EINTR && left != nullptr) *left = rest;
  return result;
}

int poll_rest(pollfd* files, nfds_t count, int timeout_ms, const Timer& timer, const scan::InterruptedCall& call) {
  const timespec rest = timer.rest_of_ms(timeout_ms);
  return g_ppoll.get()(files, count, timeout_ms < 0 ? nullptr : &rest, Mask(call).set());
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int poll(pollfd* files, nfds_t count, int timeout_ms) {
  const Timer timer;
  return wait_through([&] { return g_poll.get()(files, count, timeout_ms); },
                      [&](auto& call) { return poll_rest(files, count, timeout_ms, timer, call); });
}

int __poll_chk(pollfd* files, nfds_t count, int timeout_ms, std::size_t bytes) {
  const Timer timer;
  return wait_through([&] { return g_poll_checked.get()(files, count, timeout_ms, bytes); },
                      [&](auto& call) { return poll_rest(files, count, timeout_ms, timer, call); });
}

int ppoll(pollfd* files, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  return wait_time(
      timeout, [&] { return g_ppoll.get()(files, count, timeout, mask); },
      [&](auto* rest, auto& call) { return g_ppoll.get()(files, count, rest, Mask(call).set_or(mask)); });
}

int __ppoll_chk(pollfd* files, nfds_t count, const timespec* timeout, const sigset_t* mask, std::size_t bytes) {
  return wait_time(
      timeout, [&] { return g_ppoll_checked.get()(files, count, timeout, mask, bytes); },
      [&](auto* rest, auto& call) { return g_ppoll.get()(files, count, rest, Mask(call).set_or(mask)); });
}

// The kernel writes what is left to `timeout`, and changes no set when it is interrupted.
int select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
  return wait_through([&] { return g_select.get()(count, read, write, except, timeout); },
                      [&](auto& call) {
                        const Timer timer;
                        timespec rest{};
                        if (timeout != nullptr) rest = {timeout->tv_sec, timeout->tv_usec * 1'000};
                        const int result = g_pselect.get()(count, read, write, except,
                                                           timeout != nullptr ? &rest : nullptr, Mask(call).set());
                        if (timeout != nullptr) {
                          rest = timer.rest_of(rest);
                          *timeout = {rest.tv_sec, rest.tv_nsec / 1'000};
                        }
                        return result;
                      });
}

int pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask) {
  return wait_time(
      timeout, [&] { return g_pselect.get()(count, read, write, except, timeout, mask); },
      [&](auto* rest, auto& call) {
        return g_pselect.get()(count, read, write, except, rest, Mask(call).set_or(mask));
      });
}

int epoll_wait(int file, epoll_event* events, int count, int timeout_ms) {
  const Timer timer;
  return wait_through(
      [&] { return g_epoll_wait.get()(file, events, count, timeout_ms); },
      [&](auto& call) { return g_epoll_pwait.get()(file, events, count, timer.ms_of(timeout_ms), Mask(call).set()); });
}

int epoll_pwait(int file, epoll_event* events, int count, int timeout_ms, const sigset_t* mask) {
  const Timer timer;
  return wait_through([&] { return g_epoll_pwait.get()(file, events, count, timeout_ms, mask); },
                      [&](auto& call) {
                        return g_epoll_pwait.get()(file, events, count, timer.ms_of(timeout_ms),
                                                   Mask(call).set_or(mask));
                      });
}

int epoll_pwait2(int file, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask) {
  return wait_time(
      timeout, [&] { return g_epoll_pwait2.get()(file, events, count, timeout, mask); },
      [&](auto* rest, auto& call) { return g_epoll_pwait2.get()(file, events, count, rest, Mask(call).set_or(mask)); });
}

int nanosleep(const timespec* wanted, timespec* left) {
  return sleep_through(left, [&](timespec* rest) { return g_nanosleep.get()(wanted, rest); });
}

// Returns the error. What is left to a point in time, or on a clock that does not run evenly, only that clock knows.
int clock_nanosleep(clockid_t clock, int flags, const timespec* wanted, timespec* left) {
  const int saved_errno = errno;
  int error = 0;
  const auto sleep = [&](timespec* rest) {
    error = g_clock_nanosleep.get()(clock, flags, wanted, rest);
    if (error == EINTR) errno = EINTR;
    return error == 0 ? 0 : -1;
  };
  const bool is_even = flags == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC);
  const int result = is_even ? sleep_through(left, sleep) : wait_again([&] { return sleep(left); });
  if (result == 0) error = 0;
  errno = saved_errno;
  return error;
}

// -1 is: interrupted; what else it returns is an error.
int thrd_sleep(const timespec* wanted, timespec* left) {
  return sleep_through(left, [&](timespec* rest) {
    const int result = g_thrd_sleep.get()(wanted, rest);
    if (result == -1) errno = EINTR;
    return result;
  });
}

// The C library's calls its own nanosleep. Returns the seconds that are left, rounded as there.
unsigned int sleep(unsigned int seconds) {
  const int saved_errno = errno;
  timespec rest{static_cast<time_t>(seconds), 0};
  const timespec wanted = rest;
  if (nanosleep(&wanted, &rest) != 0) {
    return static_cast<unsigned int>(rest.tv_sec) + (rest.tv_nsec >= static_cast<long>(kNsPerSecond / 2) ? 1 : 0);
  }
  errno = saved_errno;
  return 0;
}

int usleep(useconds_t microseconds) {
  constexpr useconds_t kPerSecond = 1'000'000;
  const timespec time{static_cast<time_t>(microseconds / kPerSecond),
                      static_cast<long>(microseconds % kPerSecond) * 1'000};
  return nanosleep(&time, nullptr);
}

int sigsuspend(const sigset_t* mask) {
  return wait_through([&] { return g_sigsuspend.get()(mask); }, [&](auto&) { return g_sigsuspend.get()(mask); });
}

int pause() {
  return wait_through([] { return g_pause.get()(); }, [](auto& call) { return g_sigsuspend.get()(Mask(call).set()); });
}

int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  return wait_time(
      timeout, [&] { return g_sigtimedwait.get()(set, info, timeout); },
      [&](auto* rest, auto& call) { return let_signals_in(call) ? g_sigtimedwait.get()(set, info, rest) : -1; });
}

int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  return wait_again([&] { return g_sigwaitinfo.get()(set, info); });
}

int sem_timedwait(sem_t* semaphore, const timespec* until) {
  return wait_again([&] { return g_sem_timedwait.get()(semaphore, until); });
}

int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* until) {
  return wait_again([&] { return g_sem_clockwait.get()(semaphore, clock, until); });
}

int semop(int semaphores, sembuf* operations, std::size_t count) {
  return wait_again([&] { return g_semop.get()(semaphores, operations, count); });
}

int semtimedop(int semaphores, sembuf* operations, std::size_t count, const timespec* timeout) {
  return wait_time(
      timeout, [&] { return g_semtimedop.get()(semaphores, operations, count, timeout); },
      [&](auto* rest, auto& call) {
        return let_signals_in(call) ? g_semtimedop.get()(semaphores, operations, count, rest) : -1;
      });
}

ssize_t msgrcv(int queue, void* message, std::size_t bytes, long type, int flags) {
  return wait_again([&] { return g_msgrcv.get()(queue, message, bytes, type, flags); });
}

int msgsnd(int queue, const void* message, std::size_t bytes, int flags) {
  return wait_again([&] { return g_msgsnd.get()(queue, message, bytes, flags); });
}

}  // extern "C"
#pragma GCC visibility pop
