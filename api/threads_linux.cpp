// pthread_create and dlclose, wrapped: a thread tells its stack to the registry before it runs the program's function,
// and unwind rules are dropped when a library goes.
#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>

#include "alloc/unwind.h"
#include "api/allocate.h"

using namespace arenascan;

namespace {

using StartRoutine = void* (*)(void*);
using PthreadCreate = int (*)(pthread_t*, const pthread_attr_t*, StartRoutine, void*);
using Dlclose = int (*)(void*);

// Handed from the creating thread to the new one. It lies on the tracked heap, marked as no leak, so that whatever
// `argument` owns is reached while nobody else holds it.
struct Start {
  StartRoutine routine;
  void* argument;
  bool library_stack;  // the C library made the stack, so it is dead when the thread is
};

template <typename Function>
Function next_symbol(const char* name) noexcept {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

void register_stack(std::uintptr_t frame) noexcept {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  void* low = nullptr;
  std::size_t bytes = 0;
  pthread_attr_getstack(&attributes, &low, &bytes);
  pthread_attr_destroy(&attributes);
  const auto begin = reinterpret_cast<std::uintptr_t>(low);
  alloc::unwind_set_stack_end(begin + bytes);
  api::process().threads.register_thread({begin, begin + bytes, frame, pthread_self()});
}

void* run_thread(void* opaque) {
  const Start start = *static_cast<Start*>(opaque);
  api::release(opaque);
  if (start.library_stack) register_stack(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)));
  return start.routine(start.argument);
}

// Attributes that set a size and no stack have a stack whose end is null, so its beginning is not.
bool has_own_stack(const pthread_attr_t* attributes) noexcept {
  void* low = nullptr;
  std::size_t bytes = 0;
  return attributes != nullptr && pthread_attr_getstack(attributes, &low, &bytes) == 0 && low != nullptr &&
         reinterpret_cast<std::uintptr_t>(low) + bytes != 0;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, StartRoutine routine, void* argument) noexcept {
  static const auto create = next_symbol<PthreadCreate>("pthread_create");
  void* const memory = api::allocate(sizeof(Start), ARENA_ORIGIN(&pthread_create));
  if (memory == nullptr) return EAGAIN;
  auto* const start = new (memory) Start{routine, argument, !has_own_stack(attributes)};
  alloc::Object object;
  if (alloc::HeapView(api::process().heap).find(reinterpret_cast<std::uintptr_t>(memory), object)) {
    alloc::HeapView::add_policy(object, alloc::state::kNotLeak);
  }
  const int error = create(thread, attributes, run_thread, start);
  if (error != 0) api::release(memory);
  return error;
}

int dlclose(void* handle) noexcept {
  static const auto close = next_symbol<Dlclose>("dlclose");
  const int result = close(handle);
  alloc::unwind_forget_modules();
  return result;
}

}  // extern "C"
#pragma GCC visibility pop
