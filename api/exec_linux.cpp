// Functions of the C library that replace the program, wrapped: a signal by which a scan is about to stop the calling
// thread would be delivered to the new program, and end it. So they wait for the end of a scan, as fork does.
//
// Not in the child of vfork, which runs in the parent's memory: no scan stops it, and the parent's thread, for which a
// scan may be waiting, waits for it. Not in a thread that scans (from the callback).
//
// They may be called from signal handlers.
#include <stdarg.h>
#include <unistd.h>

#include <cstddef>

#include "alloc/os.h"
#include "api/next_function.h"
#include "api/process.h"

using namespace arenascan;

namespace {

using api::NextFunction;

constinit NextFunction g_execve{"execve", &::execve};
constinit NextFunction g_execvpe{"execvpe", &::execvpe};
constinit NextFunction g_fexecve{"fexecve", &::fexecve};
constinit NextFunction g_execveat{"execveat", &::execveat};

[[gnu::constructor]] void look_up() noexcept {
  g_execve.get();
  g_execvpe.get();
  g_fexecve.get();
  g_execveat.get();
}

// Calls replace(), which returns when it has failed.
template <typename Replace>
int between_scans(Replace&& replace) {
  if (api::t_thread.scanning || alloc::os_process_id() != api::process().id) return replace();
  api::process_scanner().lock();
  const int result = replace();
  api::process_scanner().unlock();
  return result;
}

// The arguments of execl, as execv takes them, on the stack: replace(arguments, what comes behind their null).
template <typename Replace>
int with_list(const char* first, va_list rest, Replace&& replace) {
  va_list counted;
  va_copy(counted, rest);
  std::size_t count = 1;
  while (va_arg(counted, char*) != nullptr) ++count;
  va_end(counted);
  auto** const arguments = static_cast<char**>(__builtin_alloca((count + 1) * sizeof(char*)));
  arguments[0] = const_cast<char*>(first);
  for (std::size_t i = 1; i <= count; ++i) arguments[i] = va_arg(rest, char*);
  return replace(arguments, rest);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int execve(const char* path, char* const* arguments, char* const* environment) {
  return between_scans([&] { return g_execve.get()(path, arguments, environment); });
}

int execv(const char* path, char* const* arguments) { return execve(path, arguments, environ); }

int execvpe(const char* file, char* const* arguments, char* const* environment) {
  return between_scans([&] { return g_execvpe.get()(file, arguments, environment); });
}

int execvp(const char* file, char* const* arguments) { return execvpe(file, arguments, environ); }

int fexecve(int file, char* const* arguments, char* const* environment) {
  return between_scans([&] { return g_fexecve.get()(file, arguments, environment); });
}

int execveat(int directory, const char* path, char* const* arguments, char* const* environment, int flags) {
  return between_scans([&] { return g_execveat.get()(directory, path, arguments, environment, flags); });
}

int execl(const char* path, const char* first, ...) {
  va_list rest;
  va_start(rest, first);
  const int result =
      with_list(first, rest, [&](char** arguments, va_list) { return execve(path, arguments, environ); });
  va_end(rest);
  return result;
}

int execlp(const char* file, const char* first, ...) {
  va_list rest;
  va_start(rest, first);
  const int result =
      with_list(first, rest, [&](char** arguments, va_list) { return execvpe(file, arguments, environ); });
  va_end(rest);
  return result;
}

int execle(const char* path, const char* first, ...) {
  va_list rest;
  va_start(rest, first);
  const int result = with_list(first, rest, [&](char** arguments, va_list behind) {
    return execve(path, arguments, va_arg(behind, char* const*));
  });
  va_end(rest);
  return result;
}

}  // extern "C"
#pragma GCC visibility pop
