#include "api/process.h"

#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <mutex>
#include <new>

#include "alloc/check.h"
#include "alloc/meta_alloc.h"
#include "alloc/options.h"
#include "alloc/os.h"
#include "api/face.h"
#include "api/long_use.h"

namespace arenascan::api {

constinit Immortal<Process> g_process;
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadState t_thread;

namespace {

// What a static link must take along although nothing calls it by name: fork handlers and the scan at exit, thread
// stacks.
[[gnu::used]] const void* const kKeep[] = {&kLifecycle, &kIdentity, reinterpret_cast<const void*>(&pthread_create),
                                           reinterpret_cast<const void*>(&mprotect)};

constexpr std::size_t kTableBytes = std::size_t{1} << 30;

enum class SetUp : std::uint8_t { kNot, kRunning, kDone };

// Writer: the first thread to allocate, which alone exists then (the loader's). Readers: every thread; acquire pairs
// with the release after the set-up.
constinit std::atomic<SetUp> g_set_up{SetUp::kNot};
const void* g_set_up_by = nullptr;  // name of that thread, which may allocate meanwhile (arena_default_options)

pthread_key_t g_cache_key;

// The short way is open to a thread that has a cache and allocates nothing special.
bool may_be_ready(const ThreadState& thread) noexcept { return thread.disabled == 0 && !g_process.value.is_guarded; }
void make_ready(ThreadState& thread) noexcept { thread.ready = may_be_ready(thread) ? thread.cache : nullptr; }

// The cache stays until the last round of destructors, so that those of other keys can still allocate from it.
void end_thread(void* cache) noexcept {
  ThreadState& thread = t_thread;
  alloc::meta_end_thread();
  if (++thread.destructor_rounds < PTHREAD_DESTRUCTOR_ITERATIONS && pthread_setspecific(g_cache_key, cache) == 0)
    return;
  thread.cache = thread.ready = nullptr;
  thread.ended = true;
  g_process.value.heap.release_cache(*static_cast<alloc::ThreadCache*>(cache));
}

ShortWay short_way_for(StacksOf stacks) noexcept {
  switch (stacks) {
    case StacksOf::kNone: return ShortWay::kNoStacks;
    case StacksOf::kAll: return ShortWay::kAllStacks;
    case StacksOf::kSample: return ShortWay::kSample;
    case StacksOf::kAllRechecked: break;
  }
  return ShortWay::kClosed;
}

bool init_tables(alloc::StackTables& tables) noexcept {
  return tables.stacks.init(kTableBytes) && tables.trails.init(kTableBytes);
}

[[gnu::cold]] void set_up() noexcept {
  SetUp expected = SetUp::kNot;
  if (!g_set_up.compare_exchange_strong(expected, SetUp::kRunning, std::memory_order_acquire)) {
    while (g_set_up_by != alloc::thread_name() && g_set_up.load(std::memory_order_acquire) != SetUp::kDone) {
      alloc::os_sleep_ns(1000);
    }
    return;
  }
  g_set_up_by = alloc::thread_name();
  alloc::load_options(face::load_options);
  const alloc::Options& options = alloc::options();
  Process& process = g_process.value;
  const alloc::RunAllocator::Settings runs{std::uint64_t{options.decay_ms} * 1'000'000, options.huge_pages};
  if (!process.heap.init(std::size_t{options.reserve_gib} << 30, runs)) {
    alloc::write_line("arenascan: no address space could be reserved for the heap; every allocation will fail");
  }
  if (options.stacks != alloc::StackMode::kOff) {
    if (init_tables(process.tables)) {
      process.stacks_of = options.stack_sample_bytes != 0 ? StacksOf::kSample
                          : options.stack_recheck != 0    ? StacksOf::kAllRechecked
                                                          : StacksOf::kAll;
    } else {
      alloc::write_line("arenascan: no address space could be reserved for call stacks; reports will have none");
    }
  }
  process.short_way.store(short_way_for(process.stacks_of), std::memory_order_relaxed);
  process.is_guarded = options.check_mismatch || options.zero_on_free || options.quarantine_mib != 0;
  if (options.max_allocation_mib != 0) process.max_allocation_bytes = std::size_t{options.max_allocation_mib} << 20;
  alloc::set_misuse_stack_table(&process.tables.stacks);
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

}  // namespace

LongUse::LongUse() noexcept {
  ThreadState& thread = t_thread;
  const bool short_use = thread.ready == nullptr && thread.cache != nullptr && may_be_ready(thread);
  if (thread.in_use || short_use) return;
  thread.in_use = true;
  thread.ready = nullptr;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  cache_ = thread.cache != nullptr ? thread.cache : take_cache(thread);
  if (cache_ == nullptr) thread.in_use = false;
}

LongUse::~LongUse() {
  if (cache_ == nullptr) return;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  t_thread.in_use = false;
  make_ready(t_thread);
}

void disable_leaks() noexcept {
  ++t_thread.disabled;
  make_ready(t_thread);
}

bool enable_leaks() noexcept {
  if (t_thread.disabled == 0) return false;
  --t_thread.disabled;
  make_ready(t_thread);
  return true;
}

Process& process() noexcept {
  if (g_set_up.load(std::memory_order_acquire) != SetUp::kDone) [[unlikely]]
    set_up();
  return g_process.value;
}

scan::Scanner& process_scanner() noexcept {
  static Process& ours = process();
  alignas(scan::Scanner) static std::byte storage[sizeof(scan::Scanner)];
  const auto range_of = [](std::span<const std::byte> memory) -> scan::AddressRange {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
    return {begin, begin + memory.size()};
  };
  // The heap and the scanner remember where pages begin, which is where objects begin. So may one of these ranges end.
  static const std::array<scan::AddressRange, 6> never = {{
      {ours.tables.stacks.range().begin, ours.tables.stacks.range().end},
      {ours.tables.trails.range().begin, ours.tables.trails.range().end},
      range_of(alloc::unwind_memory()),
      range_of(std::as_bytes(std::span(&g_process, 1))),
      range_of(storage),
      range_of(std::as_bytes(std::span(&never, 1))),
  }};
  static const scan::Surroundings surroundings{&ours.threads, never};
  static scan::Scanner* const scanner = new (storage) scan::Scanner(ours.heap, ours.roots, &surroundings);
  return *scanner;
}

scan::ScanSettings scan_settings() noexcept {
  const alloc::Options& options = alloc::options();
  scan::ScanSettings settings;
  settings.mark.roots = {options.use_globals, options.use_stacks,   options.use_registers,
                         options.use_tls,     options.use_mappings, options.use_root_regions};
  settings.mark.forms = {options.use_unaligned, options.use_past_end, options.tag_bits};
  settings.mark.inherited_before = process().inherited_before;
  settings.mark.concurrent = options.concurrent;
  settings.mark.lanes = options.markers;
  settings.mark.pause_ns = std::uint64_t{options.pause_budget_us} * 1'000;
  settings.mark.stop = {static_cast<int>(options.stop_signal), std::uint64_t{options.stop_timeout_ms} * 1'000'000,
                        settings.mark.pause_ns / 2};
  settings.second_look_ns = std::uint64_t{options.second_look_ms} * 1'000'000;
  settings.list_objects = options.report_objects;
  return settings;
}

}  // namespace arenascan::api
