#include "api/process.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>

#include "alloc/check.h"
#include "alloc/meta_alloc.h"
#include "alloc/options.h"
#include "alloc/os.h"

namespace arenascan::api {

using alloc::Birth;
using alloc::StackId;

namespace {

// What a static link must take along although nothing calls it by name: fork handlers and the scan at exit, thread
// stacks.
[[gnu::used]] const void* const kKeep[] = {&kLifecycle, reinterpret_cast<const void*>(&pthread_create)};

constexpr std::size_t kStackTableBytes = std::size_t{1} << 30;

// Storage that is initialised before everything and destroyed never.
template <typename T>
union Immortal {
  constexpr Immortal() : value() {}
  ~Immortal() {}
  T value;
};

enum class SetUp : std::uint8_t { kNot, kRunning, kDone };

constinit Immortal<Process> g_process;

// Writer: the first thread to allocate, which alone exists then (the loader's). Readers: every thread; acquire pairs
// with the release after the set-up.
constinit std::atomic<SetUp> g_set_up{SetUp::kNot};

constinit std::mutex g_late_mutex;
alloc::ThreadCache* g_late_cache = nullptr;  // g_late_mutex; for threads that have ended

pthread_key_t g_cache_key;

[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadState t_state;

// The cache stays until the last round of destructors, so that those of other keys can still allocate from it.
void end_thread(void* cache) noexcept {
  ThreadState& thread = t_state;
  alloc::meta_end_thread();
  if (++thread.destructor_rounds < PTHREAD_DESTRUCTOR_ITERATIONS && pthread_setspecific(g_cache_key, cache) == 0)
    return;
  thread.cache = nullptr;
  thread.ended = true;
  g_process.value.heap.release_cache(*static_cast<alloc::ThreadCache*>(cache));
}

[[gnu::cold]] void set_up() noexcept {
  SetUp expected = SetUp::kNot;
  if (!g_set_up.compare_exchange_strong(expected, SetUp::kRunning, std::memory_order_acquire)) {
    while (g_set_up.load(std::memory_order_acquire) != SetUp::kDone) alloc::os_sleep_ns(1000);
    return;
  }
  alloc::load_options();
  Process& process = g_process.value;
  if (!process.heap.init(std::size_t{alloc::options().reserve_gib} << 30)) {
    alloc::write_line("arenascan: no address space could be reserved for the heap; every allocation will fail");
  }
  if (alloc::options().stacks && !process.stacks.init(kStackTableBytes)) {
    alloc::write_line("arenascan: no address space could be reserved for call stacks; reports will have none");
  }
  alloc::set_misuse_stack_table(&process.stacks);
  ARENA_CHECK(pthread_key_create(&g_cache_key, end_thread) == 0);
  g_set_up.store(SetUp::kDone, std::memory_order_release);
}

[[gnu::cold]] alloc::ThreadCache* take_cache(ThreadState& thread) noexcept {
  Process& ours = process();
  if (thread.ended) return nullptr;
  thread.cache = ours.heap.acquire_cache();
  if (thread.cache != nullptr) pthread_setspecific(g_cache_key, thread.cache);
  return thread.cache;
}

StackId capture(ThreadState& thread, const Origin& origin) noexcept {
  if (!alloc::options().stacks || thread.capturing) return alloc::kNoStack;
  thread.capturing = true;
  std::array<std::uintptr_t, alloc::kMaxFrames> frames;
  frames[0] = reinterpret_cast<std::uintptr_t>(origin.entry) + 1;  // as if returning into it, like all others
  const std::size_t depth = alloc::options().stack_depth;
  const std::size_t count = 1 + alloc::unwind(origin.caller, frames.data() + 1, depth - 1);
  const StackId id = g_process.value.stacks.intern({frames.data(), count});
  thread.capturing = false;
  return id;
}

alloc::Heap::Allocation allocate_any(std::size_t bytes, std::size_t alignment, const Origin& origin) noexcept {
  ThreadState& thread = t_state;
  alloc::Heap& heap = g_process.value.heap;
  alloc::ThreadCache* cache = thread.cache;
  if (cache == nullptr) [[unlikely]]
    cache = take_cache(thread);
  const Birth birth = heap.birth(capture(thread, origin));
  const std::uint8_t flags = thread.disabled != 0 ? alloc::state::kNotLeak : 0;
  if (cache != nullptr) [[likely]] {
    if (alignment > alloc::kGranuleBytes) [[unlikely]]
      return heap.allocate_slow(*cache, bytes, alignment, birth, flags);
    return flags == 0 ? alloc::Heap::Allocation{heap.allocate(*cache, bytes, birth), false}
                      : heap.allocate_slow(*cache, bytes, alignment, birth, flags);
  }
  const std::scoped_lock guard(g_late_mutex);
  if (g_late_cache == nullptr) g_late_cache = heap.acquire_cache();
  if (g_late_cache == nullptr) return {};
  return heap.allocate_slow(*g_late_cache, bytes, alignment, birth, flags);
}

}  // namespace

Process& process() noexcept {
  if (g_set_up.load(std::memory_order_acquire) != SetUp::kDone) [[unlikely]]
    set_up();
  return g_process.value;
}

ThreadState& this_thread() noexcept { return t_state; }

void* allocate(std::size_t bytes, const Origin& origin) noexcept {
  return allocate_any(bytes, alloc::kGranuleBytes, origin).object;
}

void* allocate_aligned(std::size_t bytes, std::size_t alignment, const Origin& origin) noexcept {
  return allocate_any(bytes, alignment < alloc::kGranuleBytes ? alloc::kGranuleBytes : alignment, origin).object;
}

void* allocate_zeroed(std::size_t bytes, const Origin& origin) noexcept {
  const alloc::Heap::Allocation got = allocate_any(bytes, alloc::kGranuleBytes, origin);
  if (got.object != nullptr && !got.zeroed) std::memset(got.object, 0, bytes);
  return got.object;
}

void* reallocate(void* object, std::size_t bytes, const Origin& origin) noexcept {
  alloc::Heap& heap = process().heap;
  if (heap.resize_in_place(object, bytes, capture(t_state, origin))) return object;
  const std::size_t old_bytes = heap.requested_bytes(object);
  void* const moved = allocate(bytes, origin);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, object, old_bytes < bytes ? old_bytes : bytes);
  release(object);
  return moved;
}

void release(void* object) noexcept {
  alloc::Heap& heap = g_process.value.heap;
  alloc::ThreadCache* const cache = t_state.cache;
  if (cache != nullptr) [[likely]] {
    heap.release(*cache, object);
  } else {
    heap.release(object);
  }
}

scan::Scanner& process_scanner() noexcept {
  static Process& ours = process();
  static const std::array<scan::AddressRange, 1> never = {{{ours.stacks.range().begin, ours.stacks.range().end}}};
  static const scan::Surroundings surroundings{&ours.threads, never};
  alignas(scan::Scanner) static std::byte storage[sizeof(scan::Scanner)];
  static scan::Scanner* const scanner = new (storage) scan::Scanner(ours.heap, ours.roots, &surroundings);
  return *scanner;
}

scan::ScanSettings scan_settings() noexcept {
  const alloc::Options& options = alloc::options();
  scan::ScanSettings settings;
  settings.roots = {options.use_globals, options.use_stacks,   options.use_registers,
                    options.use_tls,     options.use_mappings, options.use_root_regions};
  settings.stop = {static_cast<int>(options.stop_signal), std::uint64_t{options.stop_timeout_ms} * 1'000'000};
  settings.second_look_ns = std::uint64_t{options.second_look_ms} * 1'000'000;
  return settings;
}

}  // namespace arenascan::api
