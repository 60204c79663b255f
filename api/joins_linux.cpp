// Functions of the C library by which a thread's result is taken, or given up, wrapped: what a thread that has ended
// returned is held by its descriptor until then, and by nothing afterwards (threads.h).
//
// Joining is a cancellation point: none of these may be noexcept.
#include <pthread.h>
#include <threads.h>

#include "api/next_function.h"
#include "api/process.h"

using namespace arenascan;

namespace {

using api::NextFunction;

// Calls take(), which joins or detaches the thread and returns 0 when it has. The next thread may have its descriptor
// by then, so the registry is asked before.
template <typename Take>
int take_result(pthread_t thread, Take&& take) {
  scan::ThreadRegistry& threads = api::process().threads;
  const std::uint64_t id = threads.id_of(thread);
  const int error = take();
  if (error == 0) threads.forget_result(id);
  return error;
}

constinit NextFunction g_join{"pthread_join", &::pthread_join};
constinit NextFunction g_tryjoin{"pthread_tryjoin_np", &::pthread_tryjoin_np};
constinit NextFunction g_timedjoin{"pthread_timedjoin_np", &::pthread_timedjoin_np};
constinit NextFunction g_clockjoin{"pthread_clockjoin_np", &::pthread_clockjoin_np};
constinit NextFunction g_detach{"pthread_detach", &::pthread_detach};
constinit NextFunction g_thrd_join{"thrd_join", &::thrd_join};
constinit NextFunction g_thrd_detach{"thrd_detach", &::thrd_detach};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int pthread_join(pthread_t thread, void** result) {
  return take_result(thread, [&] { return g_join.get()(thread, result); });
}

int pthread_tryjoin_np(pthread_t thread, void** result) {
  return take_result(thread, [&] { return g_tryjoin.get()(thread, result); });
}

int pthread_timedjoin_np(pthread_t thread, void** result, const timespec* until) {
  return take_result(thread, [&] { return g_timedjoin.get()(thread, result, until); });
}

int pthread_clockjoin_np(pthread_t thread, void** result, clockid_t clock, const timespec* until) {
  return take_result(thread, [&] { return g_clockjoin.get()(thread, result, clock, until); });
}

int pthread_detach(pthread_t thread) {
  return take_result(thread, [&] { return g_detach.get()(thread); });
}

int thrd_join(thrd_t thread, int* result) {
  return take_result(thread, [&] { return g_thrd_join.get()(thread, result); });
}

int thrd_detach(thrd_t thread) {
  return take_result(thread, [&] { return g_thrd_detach.get()(thread); });
}

}  // extern "C"
#pragma GCC visibility pop
