// fault_victim STORY [whole]: tells it, and leaves with 1 when something was found wrong; a scan that is incomplete,
// too, where all have to be whole.
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "tests/faults/story.h"

// What is freed goes back to the system soon.
extern "C" const char* arena_default_options() { return "at_exit=0:decay_ms=1:second_look_ms=1"; }

namespace {

// Where it crashed, for who reads of it.
void on_crash(int signal) {
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  raise(signal);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace arenascan::test;
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads what it needs
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) {
    struct sigaction action {};
    action.sa_handler = on_crash;
    action.sa_flags = SA_RESETHAND | SA_NODEFER;
    sigaction(signal, &action, nullptr);
  }
  constexpr struct {
    std::string_view name;
    void (*tell)();
  } kStories[] = {
      {"heap", tell_heap_story},       {"stopped", tell_stopped_story}, {"beside", tell_beside_story},
      {"deaf", tell_deaf_story},       {"roots", tell_roots_story},     {"fork", tell_fork_story},
      {"explain", tell_explain_story}, {"private", tell_private_story}, {"ending", tell_ending_story},
      {"control", tell_control_story},
  };
  for (const auto& story : kStories) {
    if (argc < 2 || story.name != argv[1]) continue;
    if (argc == 3) require_whole_scans();
    story.tell();
    return finish();
  }
  std::fprintf(stderr, "fault_victim: which story?\n");
  return 2;
}
