// What a thread has returned that has ended: held until somebody joins it. Of a detached thread nobody will ask for it.
// args: on off detached detached-later
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <semaphore>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

pthread_t g_thread;
std::atomic<pid_t> g_thread_id{0};
std::binary_semaphore g_go(0);
Hidden g_hidden = 0;

[[gnu::noinline]] void* result() { return reveal(g_hidden); }

void* finish(void*) {
  g_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
  g_go.acquire();
  return result();
}

[[gnu::noinline]] void store(Hidden hidden) {
  g_hidden = hidden;
  g_go.release();
  const std::string task = "/proc/self/task/" + std::to_string(g_thread_id.load());
  while (access(task.c_str(), F_OK) == 0) usleep(100);
}
[[gnu::noinline]] void clear() { pthread_join(g_thread, nullptr); }

int test_detached() {
  const std::uint32_t mark = arena_mark();
  store(allocate_hidden());
  scrub_stack();
  return expect("detached", leaked_since(mark), 1);
}

}  // namespace

int main(int, char** argv) {
  const std::string_view what = argv[1];
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (what == "detached") pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_create(&g_thread, &attributes, finish, nullptr);
  if (what == "detached-later") pthread_detach(g_thread);
  while (g_thread_id == 0) usleep(100);
  return what.starts_with("detached") ? test_detached() : root_test(argv, "use_tls", store, clear);
}
