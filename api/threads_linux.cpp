// Functions of the C library, wrapped.
//
// pthread_create, thrd_create: a thread tells its stack to the registry before it runs the program's function.
//
// pthread_sigmask, sigprocmask: who blocks all signals still lets the one through that stops threads (stop_signal.h);
// who blocks just some of them is left alone. Straight to the kernel, since handlers call these.
//
// dlopen: without RTLD_DEEPBIND, which would tie a library to the C library's free, and the objects it is given to
// ours. The dynamic loader finds libraries on behalf of its caller and must see who that is, so the call is passed on
// by a jump.
//
// dlclose: unwind rules are dropped when a library goes.
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "alloc/options.h"
#include "alloc/unwind.h"
#include "api/allocate.h"
#include "api/hooks.h"
#include "scan/stop_signal.h"

using namespace arenascan;

namespace {

using StartRoutine = void* (*)(void*);
using PthreadCreate = int (*)(pthread_t*, const pthread_attr_t*, StartRoutine, void*);
using Dlclose = int (*)(void*);

// Handed from the creating thread to the new one. It lies on the tracked heap, marked as no leak, so that whatever
// `argument` owns is reached while nobody else holds it. It goes when the thread runs, but the C library keeps the word
// that it was handed as: so that is no address (hide(), its own inverse), which would hold what the program gets there.
struct Start {
  StartRoutine routine;
  thrd_start_t c11_routine;  // in its place, if it is not null
  void* argument;
  std::uint64_t id;  // in the registry; 0: not for it, since the C library did not make the stack, and it outlives the
                     // thread
  bool has_room;     // on its stack, for clearing a part of it
};

void* allocate_start(const alloc::Origin& origin) noexcept {
  const api::Untold ours;
  return api::allocate(sizeof(Start), origin);
}
void release_start(void* memory) noexcept {
  const api::Untold ours;
  api::release(memory);
}

void* hide(void* word) noexcept { return reinterpret_cast<void*>(~reinterpret_cast<std::uintptr_t>(word)); }

template <typename Function>
Function next_symbol(const char* name) noexcept {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// The C library's last question is on which processors the thread may run, for which it needs memory. Where that fails,
// it has filled in all that is wanted here; which is believed if it is this thread's stack.
[[gnu::noinline]] void register_stack(std::uintptr_t frame, std::uint64_t id) noexcept {
  const api::Untold ours;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  const int error = pthread_getattr_np(pthread_self(), &attributes);
  void* low = nullptr;
  std::size_t bytes = 0;
  pthread_attr_getstack(&attributes, &low, &bytes);
  int state = PTHREAD_CREATE_JOINABLE;
  pthread_attr_getdetachstate(&attributes, &state);
  if (error == 0) pthread_attr_destroy(&attributes);
  const auto begin = reinterpret_cast<std::uintptr_t>(low);
  const std::uintptr_t descriptor = pthread_self();
  if (error != 0 && (frame - begin >= bytes || descriptor - begin >= bytes)) return;
  alloc::unwind_set_stack_end(begin + bytes);
  api::process().threads.register_thread(
      {begin, begin + bytes, frame, descriptor, state == PTHREAD_CREATE_DETACHED, false, id});
}

// What the last thread with this stack, and the beginning of this one, have left where the program will have its
// frames: they have holes, through which old pointers would be seen.
[[gnu::always_inline]] inline void clear_stack_below() noexcept {
  constexpr std::size_t kRedZoneBytes = 128;
  constexpr std::size_t kBytes = 4096;
  std::uintptr_t to = 0;
  asm volatile("mov %%rsp, %0" : "=r"(to));
  to = (to - kRedZoneBytes - kBytes) & ~(sizeof(std::uintptr_t) - 1);
  std::size_t words = kBytes / sizeof(std::uintptr_t);
  asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
}

// Not a part of run_thread(), in whose frame the address could stay for as long as the thread runs. Nor is
// register_stack().
[[gnu::noinline]] Start take_start(void* hidden) noexcept {
  void* const memory = hide(hidden);
  const Start start = *static_cast<Start*>(memory);
  release_start(memory);
  return start;
}

void* run_thread(void* hidden) {
  const Start start = take_start(hidden);
  if (start.id != 0) register_stack(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)), start.id);
  if (start.has_room) clear_stack_below();
  if (start.c11_routine == nullptr) return start.routine(start.argument);
  return reinterpret_cast<void*>(std::intptr_t{start.c11_routine(start.argument)});
}

// Attributes that set a size and no stack have a stack whose end is null, so its beginning is not.
bool has_own_stack(const pthread_attr_t* attributes) noexcept {
  void* low = nullptr;
  std::size_t bytes = 0;
  return attributes != nullptr && pthread_attr_getstack(attributes, &low, &bytes) == 0 && low != nullptr &&
         reinterpret_cast<std::uintptr_t>(low) + bytes != 0;
}

// Whether a stack has 4 KiB to spare, whatever thread-local data takes of it.
bool has_room(const pthread_attr_t* attributes) noexcept {
  constexpr std::size_t kRoomyBytes = std::size_t{256} << 10;
  pthread_attr_t plain;
  if (attributes == nullptr) {
    pthread_attr_init(&plain);
    attributes = &plain;
  }
  std::size_t bytes = 0;
  return pthread_attr_getstacksize(attributes, &bytes) == 0 && bytes >= kRoomyBytes;
}

// As pthread_create.
int create_thread(pthread_t* thread, const pthread_attr_t* attributes, Start start,
                  const alloc::Origin& origin) noexcept {
  static const auto create = next_symbol<PthreadCreate>("pthread_create");
  void* const memory = allocate_start(origin);
  if (memory == nullptr) return EAGAIN;
  scan::ThreadRegistry& threads = api::process().threads;
  if (!has_own_stack(attributes)) {
    start.id = threads.new_id();
    start.has_room = has_room(attributes);
  }
  new (memory) Start(start);
  alloc::Object object;
  alloc::HeapView heap(api::process().heap);
  if (heap.find(reinterpret_cast<std::uintptr_t>(memory), object)) heap.add_policy(object, alloc::state::kNotLeak);
  const int error = create(thread, attributes, run_thread, hide(memory));
  if (error != 0) {
    release_start(memory);
  } else if (start.id != 0) {
    threads.announce(*thread, start.id);
  }
  return error;
}

constexpr std::uint64_t signal_bit(int signal) noexcept { return std::uint64_t{1} << (signal - 1); }

// What the kernel reads and writes of a sigset_t.
using KernelSet = std::uint64_t;

// As pthread_sigmask.
int change_signal_mask(int how, const sigset_t* wanted, sigset_t* old) noexcept {
  constexpr KernelSet kOfTheCLibrary = signal_bit(32) | signal_bit(33);  // cancellation, set*id
  KernelSet set = 0;
  if (wanted != nullptr) {
    std::memcpy(&set, wanted, sizeof(set));
    set &= ~kOfTheCLibrary;
    const KernelSet all_real_time = ~KernelSet{0} << (SIGRTMIN - 1);
    if (how != SIG_UNBLOCK && (set & all_real_time) == all_real_time) {
      set &= ~signal_bit(scan::StopSignal::intended_number(static_cast<int>(alloc::options().stop_signal)));
    }
  }
  const int saved_errno = errno;
  const long result = syscall(SYS_rt_sigprocmask, how, wanted == nullptr ? nullptr : &set, old, sizeof(set));
  const int error = result == 0 ? 0 : errno;
  errno = saved_errno;
  return error;
}

}  // namespace

// For dlopen below, which it tells where to go on.
extern "C" [[gnu::used, gnu::visibility("hidden")]] void* arenascan_next_dlopen() noexcept {
  static void* const next = dlsym(RTLD_NEXT, "dlopen");
  return next;
}

#pragma GCC visibility push(default)
extern "C" {

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, StartRoutine routine, void* argument) noexcept {
  return create_thread(thread, attributes, {routine, nullptr, argument, 0, false}, ARENA_ORIGIN(alloc::this_code()));
}

// The C library's own makes its thread without calling the function above.
int thrd_create(thrd_t* thread, thrd_start_t routine, void* argument) {
  switch (create_thread(thread, nullptr, {nullptr, routine, argument, 0, false}, ARENA_ORIGIN(alloc::this_code()))) {
    case 0: return thrd_success;
    case ENOMEM: return thrd_nomem;
    default: return thrd_error;
  }
}

int pthread_sigmask(int how, const sigset_t* wanted, sigset_t* old) noexcept {
  return change_signal_mask(how, wanted, old);
}

int sigprocmask(int how, const sigset_t* wanted, sigset_t* old) noexcept {
  const int error = change_signal_mask(how, wanted, old);
  if (error != 0) errno = error;
  return error == 0 ? 0 : -1;
}

int dlclose(void* handle) noexcept {
  static const auto close = next_symbol<Dlclose>("dlclose");
  const int result = close(handle);
  alloc::unwind_forget_modules();
  return result;
}

}  // extern "C"
#pragma GCC visibility pop

// void* dlopen(const char* file, int mode)
static_assert(RTLD_DEEPBIND == 8);
asm(R"(
  .text
  .globl dlopen
  .type dlopen, @function
dlopen:
  .cfi_startproc
  push %rdi
  .cfi_adjust_cfa_offset 8
  push %rsi
  .cfi_adjust_cfa_offset 8
  sub $8, %rsp
  .cfi_adjust_cfa_offset 8
  call arenascan_next_dlopen
  add $8, %rsp
  .cfi_adjust_cfa_offset -8
  pop %rsi
  .cfi_adjust_cfa_offset -8
  pop %rdi
  .cfi_adjust_cfa_offset -8
  and $-9, %esi
  jmp *%rax
  .cfi_endproc
  .size dlopen, .-dlopen
)");
