// LeakSanitizer's tests of threads: create_thread_leak (argument and result), leak_check_before_thread_started,
// disabler_in_tsd_destructor, cleanup_in_tsd_destructor, detached_thread_dlsym, many_tls_keys, use_stacks_threaded,
// high_allocator_contention.
// args: argument result detached nothing disabler destructor dlsym keys contention
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

constexpr int kThreads = 10;
std::string_view g_what;

void* free_argument(void* argument) {
  if (g_what != "argument") std::free(argument);
  return used(std::calloc(1, 234));  // what lay there before may point to another one that is lost
}

[[gnu::noinline]] void join(pthread_t thread) {
  void* result = nullptr;
  CHECK(pthread_join(thread, &result) == 0);
  if (g_what != "result") std::free(result);
}

void test_create(Lost wanted) {
  const std::uint32_t mark = arena_mark();
  for (int round = 0; round < 5; ++round) {
    std::array<pthread_t, kThreads> threads;
    for (pthread_t& thread : threads) {
      CHECK(pthread_create(&thread, nullptr, free_argument, used(std::calloc(1, 123))) == 0);
      if (round == 0) CHECK(arena_scan() <= kThreads);  // those lost so far, while the next ones start
    }
    for (const pthread_t thread : threads) {
      if (g_what == "detached") {
        CHECK(pthread_detach(thread) == 0);
        continue;
      }
      join(thread);
    }
  }
  for (int waits = 0; g_what == "detached" && waits < 1000 && lost_since(mark) != wanted; ++waits) usleep(1000);
  expect_lost("when all have ended", lost_since(mark), wanted);
}

pthread_key_t g_key;
std::binary_semaphore g_ready(0);
std::binary_semaphore g_end(0);

void on_thread(void* (*run)(void*)) {
  pthread_t thread;
  CHECK(pthread_create(&thread, nullptr, run, nullptr) == 0);
  CHECK(pthread_join(thread, nullptr) == 0);
}

// Disabled while the thread's own data is being destroyed.
void test_disabler() {
  const std::uint32_t mark = arena_mark();
  CHECK(pthread_key_create(&g_key, [](void*) {
          arena_disable();
          used(std::malloc(1337));
          pthread_setspecific(g_key, nullptr);
          arena_enable();
        }) == 0);
  on_thread([](void*) -> void* {
    pthread_setspecific(g_key, reinterpret_cast<void*>(1));
    return nullptr;
  });
  expect_lost("allocated while disabled", lost_since(mark), {0, 0});
}

// What a thread has in its data is reached as long as its destructors run.
thread_local void* volatile t_place = nullptr;
std::uint32_t g_mark = 0;

void test_destructor() {
  g_mark = arena_mark();
  CHECK(pthread_key_create(&g_key, [](void*) { expect_lost("in the destructor", lost_since(g_mark), {0, 0}); }) == 0);
  on_thread([](void*) -> void* {
    t_place = used(std::malloc(1337));
    pthread_setspecific(g_key, reinterpret_cast<void*>(1));
    return nullptr;
  });
  expect_lost("when the thread is gone", lost_since(g_mark), {1, 0});
}

// The C library keeps the text of an error for the thread, until all destructors have run for the last time.
void test_dlsym() {
  const std::uint32_t mark = arena_mark();
  CHECK(pthread_key_create(&g_key, [](void* rounds) {
          const auto left = reinterpret_cast<std::uintptr_t>(rounds);
          if (left > 1) {
            pthread_setspecific(g_key, reinterpret_cast<void*>(left - 1));
            return;
          }
          g_ready.release();
          g_end.acquire();
        }) == 0);
  std::thread([] {
    dlsym(RTLD_DEFAULT, "there_is_no_such_symbol");
    pthread_setspecific(g_key, reinterpret_cast<void*>(PTHREAD_DESTRUCTOR_ITERATIONS));
  }).detach();
  g_ready.acquire();
  expect_lost("in its last destructor", lost_since(mark), {0, 0});
  g_end.release();
}

void test_keys() {
  std::array<pthread_key_t, 500> keys;
  for (pthread_key_t& key : keys) CHECK(pthread_key_create(&key, nullptr) == 0);
  std::thread holder([&keys] {
    for (const pthread_key_t key : keys) pthread_setspecific(key, used(std::malloc(1337)));
    g_ready.release();
    g_end.acquire();
  });
  g_ready.acquire();
  CHECK(arena_scan() == 0);
  g_end.release();
  holder.join();
  CHECK(arena_scan() == keys.size());
}

void test_contention() {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      while (!done) {
        std::array<void*, 100> blocks;
        for (void*& block : blocks) block = std::malloc(10);
        for (void* const block : blocks) std::free(block);
      }
    });
  }
  for (int i = 0; i < 20; ++i) CHECK(arena_scan() == 0);
  done = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int, char** argv) {
  g_what = argv[1];
  if (g_what == "argument" || g_what == "result" || g_what == "detached") test_create({50, 0});
  if (g_what == "nothing") test_create({0, 0});
  if (g_what == "disabler") test_disabler();
  if (g_what == "destructor") test_destructor();
  if (g_what == "dlsym") test_dlsym();
  if (g_what == "keys") test_keys();
  if (g_what == "contention") test_contention();
  return finish();
}
