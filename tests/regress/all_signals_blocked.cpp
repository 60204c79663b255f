// A thread that blocks all signals, as compressors, databases and language runtimes make their helpers: it stops for a
// scan, and what only it holds is reached.
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include <cerrno>

#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

sem_t g_ready;
sem_t g_done;

void* hold(void*) {
  int* volatile held = new int(7);
  sem_post(&g_ready);
  while (sem_wait(&g_done) != 0) {
  }
  delete held;
  return nullptr;
}

void scan_with_helper(decltype(&pthread_sigmask) block) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  CHECK(block(SIG_SETMASK, &all, &before) == 0);
  pthread_t helper;
  CHECK(pthread_create(&helper, nullptr, hold, nullptr) == 0);
  sigset_t blocked;
  CHECK(block(SIG_SETMASK, &before, &blocked) == 0);
  CHECK(sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGRTMIN) == 1);
  while (sem_wait(&g_ready) != 0) {
  }
  const arena::report result = arena::scan();
  CHECK(result.complete());
  CHECK(!result.has_leaks());
  sem_post(&g_done);
  CHECK(pthread_join(helper, nullptr) == 0);
}

}  // namespace

int main() {
  sem_init(&g_ready, 0, 0);
  sem_init(&g_done, 0, 0);
  scan_with_helper(pthread_sigmask);
  scan_with_helper(sigprocmask);

  // Some signals are blocked as they are told, whichever they are, and errors are the C library's.
  sigset_t some;
  sigset_t now;
  sigemptyset(&some);
  sigaddset(&some, SIGRTMAX - 3);
  CHECK(pthread_sigmask(SIG_BLOCK, &some, nullptr) == 0);
  CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &now) == 0 && sigismember(&now, SIGRTMAX - 3) == 1);
  CHECK(pthread_sigmask(SIG_UNBLOCK, &some, nullptr) == 0);
  CHECK(pthread_sigmask(4711, &some, nullptr) == EINVAL);
  errno = 0;
  CHECK(sigprocmask(4711, &some, nullptr) == -1 && errno == EINVAL);
  return arenascan::test::finish();
}
