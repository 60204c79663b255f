#include "tests/faults/story.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace arenascan::test {
namespace {

constinit Lost g_lost;
bool g_needs_whole = false;
std::uintptr_t g_hidden[2000];  // where they are, as no scan can see it

struct Wanted {
  int count;
  std::size_t bytes;
};

[[gnu::noinline]] void lose_here(Wanted wanted) {
  for (int i = 0; i < wanted.count; ++i) {
    void* object = get_filled(wanted.bytes);
    if (object == nullptr) continue;
    if (g_lost.objects < std::size(g_hidden)) g_hidden[g_lost.objects] = ~reinterpret_cast<std::uintptr_t>(object);
    ++g_lost.objects;
    g_lost.bytes += wanted.bytes;
    asm volatile("" : "+r"(object) : : "memory");
  }
}

void* lose_there(void* wanted) {
  lose_here(*static_cast<Wanted*>(wanted));
  return nullptr;
}

// What is said of lost objects that are none, for who reads of it.
void tell_who_holds_lost() {
  static char text[1 << 14];
  const int file = memfd_create("retainers", MFD_CLOEXEC);
  for (std::size_t i = 0; file >= 0 && i < g_lost.objects && i < std::size(g_hidden); ++i) {
    if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0) break;
    arena_retainers(reinterpret_cast<const void*>(~g_hidden[i]), file);
    const ssize_t length = pread(file, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = 0;
    if (std::strstr(text, "no root leads to it.") == nullptr) std::fputs(text, stderr);
  }
  close(file);
}

}  // namespace

void* get_filled(std::size_t bytes, unsigned char first) {
  errno = 0;
  auto* const memory = static_cast<unsigned char*>(std::malloc(bytes));
  CHECK(memory != nullptr || errno == ENOMEM);
  if (memory != nullptr) std::memset(memory, first, bytes);
  return memory;
}

void check_filled(const void* memory, std::size_t bytes, unsigned char first) {
  const auto* const at = static_cast<const unsigned char*>(memory);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bytes; ++i) wrong += at[i] != first ? 1 : 0;
  CHECK(wrong == 0);
}

void lose(int count, std::size_t bytes) {
  Wanted wanted{count / 2, bytes};
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, lose_there, &wanted);
  if (error == 0) pthread_join(thread, nullptr);
  wanted.count = count - wanted.count;
  lose_here(wanted);
}

void forget_lost() { g_lost = {}; }
void require_whole_scans() { g_needs_whole = true; }
bool needs_whole_scans() { return g_needs_whole; }
Lost lost() { return g_lost; }

[[gnu::noinline]] bool scan_scrubbed(Beside beside) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.stop = beside == Beside::kNo ? 1 : 0;
  arena_scan_result result{};
  result.size = sizeof(result);
  errno = 4711;
  CHECK(arena_scan_ex(&options, &result) == 0);
  CHECK(errno == 4711);
  CHECK(std::strlen(result.way) > 5);
  const bool is_complete = result.incomplete == ARENA_COMPLETE;
  CHECK(is_complete || !g_needs_whole);
  CHECK(is_complete || std::strlen(result.incomplete_why) > 10);
  const Lost expected = is_complete ? g_lost : Lost{};
  if (result.leaked.objects != expected.objects || result.leaked.bytes != expected.bytes) {
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::fprintf(stderr, "%llu objects, %llu bytes leaked instead of %llu, %llu; %llu orphans, %llu changed (%s; %s)\n",
                 number(result.leaked.objects), number(result.leaked.bytes), number(expected.objects),
                 number(expected.bytes), number(result.orphans.objects), number(result.changed.objects), result.way,
                 result.incomplete_why);
    tell_who_holds_lost();
    CHECK(!"the scan is right");
  }
  return is_complete;
}

void sleep_us(long us) {
  const timespec duration{0, us * 1000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, nullptr);
}

Holders::Holders(int wanted, Ears ears) : ears_(ears) {
  for (int i = 0; i < wanted; ++i) {
    const int error = pthread_create(&threads_[count_], nullptr, hold, this);
    if (error == 0) ++count_;
  }
  while (ready_ < count_) sleep_us(100);
}

Holders::~Holders() {
  done_ = true;
  for (int i = 0; i < count_; ++i) pthread_join(threads_[i], nullptr);
}

void* Holders::hold(void* opaque) {
  constexpr std::size_t kBytes = 200;
  auto& self = *static_cast<Holders*>(opaque);
  void* volatile object = get_filled(kBytes, 40);
  if (self.ears_ == Ears::kDeaf) {
    const std::uint64_t all = ~std::uint64_t{0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
  }
  ++self.ready_;
  while (!self.done_) sleep_us(200);
  if (object != nullptr) check_filled(object, kBytes, 40);
  std::free(object);
  return nullptr;
}

}  // namespace arenascan::test
