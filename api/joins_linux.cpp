// Functions of the C library by which a thread's result is taken, or given up, wrapped: what a thread that has ended
// returned is held by its descriptor until then, and by nothing afterwards (threads.h).
//
// Joining is a cancellation point: none of these may be noexcept.
#include <dlfcn.h>
#include <pthread.h>
#include <threads.h>

#include "api/process.h"

using namespace arenascan;

namespace {

// Calls take(), which joins or detaches the thread and returns 0 when it has. The next thread may have its descriptor
// by then, so the registry is asked before. A thread that was detached before it has registered says so itself; in the
// instant between, what it returns stays a root: that can hide a leak, but invents none.
template <typename Take>
int take_result(pthread_t thread, Take&& take) {
  scan::ThreadRegistry& threads = api::process().threads;
  const std::uint64_t id = threads.id_of(thread);
  const int error = take();
  if (error == 0) threads.forget_result(id);
  return error;
}

template <typename Function>
Function* next_symbol(const char* name, Function*) noexcept {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int pthread_join(pthread_t thread, void** result) {
  static const auto join = next_symbol("pthread_join", &pthread_join);
  return take_result(thread, [&] { return join(thread, result); });
}

int pthread_tryjoin_np(pthread_t thread, void** result) {
  static const auto join = next_symbol("pthread_tryjoin_np", &pthread_tryjoin_np);
  return take_result(thread, [&] { return join(thread, result); });
}

int pthread_timedjoin_np(pthread_t thread, void** result, const timespec* until) {
  static const auto join = next_symbol("pthread_timedjoin_np", &pthread_timedjoin_np);
  return take_result(thread, [&] { return join(thread, result, until); });
}

int pthread_clockjoin_np(pthread_t thread, void** result, clockid_t clock, const timespec* until) {
  static const auto join = next_symbol("pthread_clockjoin_np", &pthread_clockjoin_np);
  return take_result(thread, [&] { return join(thread, result, clock, until); });
}

int pthread_detach(pthread_t thread) {
  static const auto detach = next_symbol("pthread_detach", &pthread_detach);
  return take_result(thread, [&] { return detach(thread); });
}

int thrd_join(thrd_t thread, int* result) {
  static const auto join = next_symbol("thrd_join", &thrd_join);
  return take_result(thread, [&] { return join(thread, result); });
}

int thrd_detach(thrd_t thread) {
  static const auto detach = next_symbol("thrd_detach", &thrd_detach);
  return take_result(thread, [&] { return detach(thread); });
}

}  // extern "C"
#pragma GCC visibility pop
