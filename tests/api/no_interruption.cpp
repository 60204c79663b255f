// Functions that wait, in threads that scan after scan stops: they wait as long as without, and a signal of the
// program's own interrupts them as ever.
#include <arenascan/arena.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

constexpr long kNsPerMs = 1'000'000;
constexpr int kWaitMs = 300;
constexpr timespec kWait{0, kWaitMs* kNsPerMs};
constexpr int kForEverMs = 60'000;
constexpr timespec kForEver{60, 0};

// What a function that waits comes to, in terms of errno; 0: its time was over.
struct Wait {
  const char* name;
  int (*call)(bool for_ever);
  int when_over;
};

int g_pipe[2];
int g_epoll = -1;
int g_semaphores = -1;
int g_queue = -1;
sem_t g_semaphore;
sigset_t g_unused;

template <typename Result>
int error_of(Result result) {
  return result == -1 ? errno : 0;
}
const timespec* time_of(bool for_ever) { return for_ever ? &kForEver : &kWait; }
int ms_of(bool for_ever) { return for_ever ? kForEverMs : kWaitMs; }
timespec until(clockid_t clock, bool for_ever) {
  timespec now{};
  clock_gettime(clock, &now);
  const long ns = now.tv_nsec + (for_ever ? 0 : kWait.tv_nsec);
  return {now.tv_sec + (for_ever ? kForEver.tv_sec : 0) + ns / (1'000 * kNsPerMs), ns % (1'000 * kNsPerMs)};
}

const Wait kWaits[] = {
    {"poll",
     [](bool for_ever) {
       pollfd file{g_pipe[0], POLLIN, 0};
       return error_of(poll(&file, 1, ms_of(for_ever)));
     },
     0},
    {"ppoll",
     [](bool for_ever) {
       pollfd file{g_pipe[0], POLLIN, 0};
       return error_of(ppoll(&file, 1, time_of(for_ever), nullptr));
     },
     0},
    {"select",
     [](bool for_ever) {
       fd_set files;
       FD_ZERO(&files);
       FD_SET(g_pipe[0], &files);
       timeval time{for_ever ? 60 : 0, for_ever ? 0 : kWaitMs * 1'000};
       return error_of(select(g_pipe[0] + 1, &files, nullptr, nullptr, &time));
     },
     0},
    {"pselect",
     [](bool for_ever) {
       fd_set files;
       FD_ZERO(&files);
       FD_SET(g_pipe[0], &files);
       return error_of(pselect(g_pipe[0] + 1, &files, nullptr, nullptr, time_of(for_ever), nullptr));
     },
     0},
    {"epoll_wait",
     [](bool for_ever) {
       epoll_event event{};
       return error_of(epoll_wait(g_epoll, &event, 1, ms_of(for_ever)));
     },
     0},
    {"epoll_pwait",
     [](bool for_ever) {
       epoll_event event{};
       return error_of(epoll_pwait(g_epoll, &event, 1, ms_of(for_ever), nullptr));
     },
     0},
    {"epoll_pwait2",
     [](bool for_ever) {
       epoll_event event{};
       return error_of(epoll_pwait2(g_epoll, &event, 1, time_of(for_ever), nullptr));
     },
     0},
    {"nanosleep", [](bool for_ever) { return error_of(nanosleep(time_of(for_ever), nullptr)); }, 0},
    {"nanosleep, in place",
     [](bool for_ever) {
       timespec time = *time_of(for_ever);
       return error_of(nanosleep(&time, &time));
     },
     0},
    {"clock_nanosleep",
     [](bool for_ever) {
       timespec left{};
       return clock_nanosleep(CLOCK_MONOTONIC, 0, time_of(for_ever), &left);
     },
     0},
    {"clock_nanosleep until",
     [](bool for_ever) {
       const timespec end = until(CLOCK_MONOTONIC, for_ever);
       return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr);
     },
     0},
    {"thrd_sleep", [](bool for_ever) { return thrd_sleep(time_of(for_ever), nullptr) == 0 ? 0 : EINTR; }, 0},
    {"usleep", [](bool for_ever) { return error_of(usleep(static_cast<useconds_t>(ms_of(for_ever)) * 1'000)); }, 0},
    {"sleep",
     [](bool for_ever) {
       errno = 0;
       const unsigned left = sleep(for_ever ? 60 : 1);
       return left == 0 && errno == 0 ? 0 : EINTR;
     },
     0},
    {"sigtimedwait", [](bool for_ever) { return error_of(sigtimedwait(&g_unused, nullptr, time_of(for_ever))); },
     EAGAIN},
    {"sem_timedwait",
     [](bool for_ever) {
       const timespec end = until(CLOCK_REALTIME, for_ever);
       return error_of(sem_timedwait(&g_semaphore, &end));
     },
     ETIMEDOUT},
    {"sem_clockwait",
     [](bool for_ever) {
       const timespec end = until(CLOCK_MONOTONIC, for_ever);
       return error_of(sem_clockwait(&g_semaphore, CLOCK_MONOTONIC, &end));
     },
     ETIMEDOUT},
    {"semtimedop",
     [](bool for_ever) {
       sembuf take{0, -1, 0};
       return error_of(semtimedop(g_semaphores, &take, 1, time_of(for_ever)));
     },
     EAGAIN},
};

// These have no end of their own; another thread ends those that it can.
const Wait kEndless[] = {
    {"pause", [](bool) { return error_of(pause()); }, EINTR},
    {"sigsuspend",
     [](bool) {
       sigset_t none;
       sigemptyset(&none);
       return error_of(sigsuspend(&none));
     },
     EINTR},
    {"sigwaitinfo", [](bool) { return error_of(sigwaitinfo(&g_unused, nullptr)); }, EINTR},
    {"sem_wait", [](bool) { return error_of(sem_wait(&g_semaphore)); }, EINTR},
    {"semop",
     [](bool) {
       sembuf take{0, -1, 0};
       return error_of(semop(g_semaphores, &take, 1));
     },
     EINTR},
    {"msgrcv",
     [](bool) {
       struct {
         long type;
         char text[8];
       } message{};
       return error_of(msgrcv(g_queue, &message, sizeof(message.text), 0, 0));
     },
     EINTR},
};

void on_signal(int) {}

int now_ms() {
  return static_cast<int>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

struct Outcome {
  std::atomic<bool> done{false};
  int error = -1;
  int ms = 0;
};

// Each in a thread of its own, all at once.
class Run {
 public:
  Run(std::span<const Wait> waits, bool for_ever) : waits_(waits), outcomes_(waits.size()) {
    for (std::size_t i = 0; i < waits.size(); ++i) {
      threads_.emplace_back([this, i, for_ever] {
        const int began = now_ms();
        outcomes_[i].error = waits_[i].call(for_ever);
        outcomes_[i].ms = now_ms() - began;
        outcomes_[i].done = true;
      });
    }
  }
  ~Run() {
    for (std::thread& thread : threads_) thread.join();
  }

  [[nodiscard]] bool has_ended() const {
    for (const Outcome& outcome : outcomes_) {
      if (!outcome.done) return false;
    }
    return true;
  }
  // Until all have come to something. A signal that arrives before the call begins does not interrupt it.
  void interrupt() {
    while (!has_ended()) {
      for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (!outcomes_[i].done) pthread_kill(threads_[i].native_handle(), SIGUSR1);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  template <typename Check>
  void for_each(Check&& check) const {
    for (std::size_t i = 0; i < waits_.size(); ++i) check(waits_[i], outcomes_[i]);
  }

 private:
  std::span<const Wait> waits_;
  std::vector<Outcome> outcomes_;
  std::vector<std::thread> threads_;
};

int scan_until(const Run& run, int ms) {
  const int end = now_ms() + ms;
  int scans = 0;
  for (; !run.has_ended() && now_ms() < end; ++scans) {
    arena_scan_result result{};
    result.size = sizeof(result);
    CHECK(arena_scan_ex(nullptr, &result) == 0);
    CHECK(result.incomplete == ARENA_COMPLETE);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return scans;
}

void say(const Wait& wait, const Outcome& outcome, const char* what) {
  std::fprintf(stderr, "%s: %s (error %d after %d ms)\n", wait.name, what, outcome.error, outcome.ms);
}

// They end when their time is over, neither sooner nor never.
void test_scans_go_unnoticed() {
  const Run run(kWaits, false);
  CHECK(scan_until(run, kForEverMs) > 10);
  run.for_each([](const Wait& wait, const Outcome& outcome) {
    const bool is_right = outcome.error == wait.when_over && outcome.ms >= kWaitMs - 1;
    if (!is_right) say(wait, outcome, "not as without scans");
    CHECK(is_right);
  });
}

// Nothing ends for a second of scans; then the program's own signal ends all.
void test_own_signals_interrupt(std::span<const Wait> waits) {
  Run run(waits, true);
  CHECK(scan_until(run, 1'000) > 10);
  run.for_each([](const Wait& wait, const Outcome& outcome) {
    if (outcome.done) say(wait, outcome, "ended by itself");
    CHECK(!outcome.done);
  });
  run.interrupt();
  run.for_each([](const Wait& wait, const Outcome& outcome) {
    if (outcome.error != EINTR) say(wait, outcome, "not interrupted");
    CHECK(outcome.error == EINTR);
    CHECK(outcome.ms < kForEverMs);
  });
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // without SA_RESTART
  CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
  sigemptyset(&g_unused);
  sigaddset(&g_unused, SIGUSR2);
  CHECK(pthread_sigmask(SIG_BLOCK, &g_unused, nullptr) == 0);
  CHECK(pipe(g_pipe) == 0);
  CHECK((g_epoll = epoll_create1(0)) >= 0);
  CHECK(sem_init(&g_semaphore, 0, 0) == 0);
  CHECK((g_semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0);
  CHECK((g_queue = msgget(IPC_PRIVATE, 0600)) >= 0);

  test_scans_go_unnoticed();
  test_own_signals_interrupt(kWaits);
  test_own_signals_interrupt(kEndless);

  CHECK(semctl(g_semaphores, 0, IPC_RMID) == 0);
  CHECK(msgctl(g_queue, IPC_RMID, nullptr) == 0);
  return arenascan::test::finish();
}
