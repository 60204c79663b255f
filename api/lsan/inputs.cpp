#include "api/lsan/inputs.h"

#include <atomic>
#include <cstddef>

#include "alloc/heap_view.h"
#include "api/hooks.h"
#include "api/last_report.h"
#include "api/lsan/checks.h"
#include "api/process.h"
#include "arenascan/fuzz.h"

namespace arenascan::api::lsan {
namespace {

// Writer: whoever begins an input. Readers: any thread that frees or checks; a free that races with the beginning
// counts for either input, so relaxed is enough, here and below.
constinit std::atomic<std::uint32_t> g_began_at{0};

// Of the input. Writers: any thread. Reader: whoever ends it.
constinit std::atomic<std::ptrdiff_t> g_allocations{0};  // less frees
constinit std::atomic<std::ptrdiff_t> g_alive{0};        // objects that were born since it began

constinit std::atomic<bool> g_is_hooked{false};

void note_allocated(const volatile void*, std::size_t) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  g_alive.fetch_add(1, std::memory_order_relaxed);
}

bool is_of_input(const volatile void* p) noexcept {
  const alloc::HeapView heap(process().heap);
  alloc::Object object;
  if (!heap.find(reinterpret_cast<std::uintptr_t>(p), object)) return false;
  const std::uint32_t now = heap.stamp();
  return object.birth().age(now) <= now - g_began_at.load(std::memory_order_relaxed);
}

void note_freed(const volatile void* p) {
  g_allocations.fetch_sub(1, std::memory_order_relaxed);
  if (is_of_input(p)) g_alive.fetch_sub(1, std::memory_order_relaxed);
}

std::size_t count_leaked() noexcept {
  std::size_t leaked = 0;
  scan::ScanSettings settings = check_settings();
  settings.born_since = g_began_at.load(std::memory_order_relaxed);
  scan_process(settings,
               [&](const scan::Verdict& verdict) { leaked = verdict.direct.objects + verdict.indirect.objects; });
  return leaked;
}

// As many frees of nothing as are missing; or an allocation, for libFuzzer looks only where there are more of these.
void make_uneven(bool wanted) noexcept {
  while (!wanted && g_allocations.load(std::memory_order_relaxed) > 0) tell_freed(nullptr);
  while (wanted && g_allocations.load(std::memory_order_relaxed) <= 0) tell_allocated(nullptr, 0);
}

}  // namespace

std::uint32_t input_began_at() noexcept { return g_began_at.load(std::memory_order_relaxed); }

}  // namespace arenascan::api::lsan

using namespace arenascan::api;

extern "C" void arena_input_begin() {
  if (t_thread.disabled != 0) return;
  if (!lsan::g_is_hooked.exchange(true, std::memory_order_relaxed)) {
    install_hooks({lsan::note_allocated, lsan::note_freed});
  }
  lsan::g_began_at.store(process_scanner().mark_time(), std::memory_order_relaxed);
  lsan::g_allocations.store(0, std::memory_order_relaxed);
  lsan::g_alive.store(0, std::memory_order_relaxed);
}

extern "C" std::size_t arena_input_end() {
  if (t_thread.disabled != 0) return 0;
  const bool may_leak = lsan::g_alive.load(std::memory_order_relaxed) > 0;
  const std::size_t leaked = may_leak ? lsan::count_leaked() : 0;
  lsan::make_uneven(leaked != 0);
  return leaked;
}
