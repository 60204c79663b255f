// Stopping threads that block every signal, as a debugger does (ptrace).
//
// No signal stops them, and the C library itself has one: the thread behind timer_create(SIGEV_THREAD). A process may
// not trace its own threads, so a second one does, which shares all memory with this one:
//
//     scanner                                     tracer, a process of one bare thread (bare_thread.h)
//     stop(thread): kAsked                  -->   seize, interrupt, wait until it stands; copy its registers
//     fill in the StoppedThread             <--   kAnswered
//     ...
//     resume(): kLetGo, wait for its end    -->   detach from all of them, end
//
// It exists only while the world stands still. It is a child that sends no signal when it ends, and that a waiting
// program does not see (__WCLONE). It dies with the scanner's thread; when it dies, the kernel lets all traced threads
// go on.
//
// Not possible, and stop() fails: where somebody else traces the thread (gdb, strace), where the system forbids it (a
// security module, a program that made itself not dumpable), where system calls are filtered, since nobody knows what
// the filter does.
//
// From: LeakSanitizer stops all threads like this (sanitizer_stoptheworld). Here signals do for nearly all.
//
// Threads: the scanner's. Called by: world.
#pragma once

#include <atomic>
#include <cstdint>

#include "scan/registers.h"

namespace arenascan::scan {

class Tracer {
 public:
  enum class Answer : std::uint8_t { kStopped, kEnded, kFailed };

  // Stops a thread and tells where, with registers in the tool's memory. kEnded: it will never run again. kFailed: not
  // before the deadline, at least; it may be asked for again, and is waited for further then.
  Answer stop(int thread_id, std::uint64_t deadline_ns, StoppedThread& thread) noexcept;

  // Lets one of them go on.
  void let_go(int thread_id) noexcept;

  // Lets all go on that stop() has been asked for.
  void resume() noexcept;

  // Whether it has been asked to stop that thread, or one with the same number, before; and that it will not be again.
  [[nodiscard]] bool knows(int thread_id) const noexcept;
  void forget(int thread_id) noexcept;

  // Whether a thread is still waited for that was asked to stop: sooner or later it stands, and goes on for nobody
  // else.
  [[nodiscard]] bool awaits(int thread_id) const noexcept;

 private:
  struct Tracee;
  enum Turn : std::uint32_t { kIdle, kAsked, kAnswered, kLetGo };
  enum class Wish : std::uint8_t { kStop, kLetGo };

  bool begin() noexcept;
  Tracee* tracee_for(int thread_id) noexcept;
  bool ask(Tracee& tracee, Wish wish) noexcept;
  bool wait_for_answer() noexcept;
  static int serve(void* tracer) noexcept;
  void attach(Tracee& tracee) const noexcept;
  static void detach(Tracee& tracee) noexcept;

  Tracee* tracees_ = nullptr;  // kept for the next time, and so are their ids
  void* stack_ = nullptr;
  int process_ = 0;  // the tracer's; 0: there is none
  int parent_ = 0;   // this one

  // Whose turn it is, which is who may touch asked_, wish_, deadline_ns_ and the tracees. Written by the scanner
  // (kAsked, kLetGo) and the tracer (kAnswered), release; read by the other, acquire.
  std::atomic<std::uint32_t> turn_{kIdle};
  Tracee* asked_ = nullptr;
  Wish wish_ = Wish::kStop;
  std::uint64_t deadline_ns_ = 0;
};

}  // namespace arenascan::scan
