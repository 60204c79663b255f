#include "api/hooks.h"

#include <array>
#include <atomic>
#include <mutex>
#include <span>

#include "api/process.h"

namespace arenascan::api {
namespace {

constexpr std::size_t kMostHooks = 5;  // as many as LeakSanitizer takes

constinit std::mutex g_mutex;
constinit std::array<Hooks, kMostHooks> g_hooks{};  // those below g_count are constant
// Writer: whoever installs one, with the lock. Readers: any thread; the acquire shows them the hook.
constinit std::atomic<std::size_t> g_count{0};

[[gnu::tls_model("initial-exec")]] constinit thread_local unsigned t_untold = 0;

std::span<const Hooks> to_be_told() noexcept {
  return {g_hooks.data(), t_untold == 0 ? g_count.load(std::memory_order_acquire) : 0};
}

}  // namespace

Untold::Untold() noexcept { ++t_untold; }
Untold::~Untold() { --t_untold; }

bool install_hooks(const Hooks& hooks) noexcept {
  Process& ours = process();
  const std::scoped_lock guard(g_mutex);
  const std::size_t count = g_count.load(std::memory_order_relaxed);
  if (count == kMostHooks) return false;
  g_hooks[count] = hooks;
  g_count.store(count + 1, std::memory_order_release);
  ours.short_way.store(ShortWay::kClosed, std::memory_order_relaxed);
  ours.heap.close_quick_release();
  return true;
}

bool has_hooks() noexcept { return g_count.load(std::memory_order_relaxed) != 0; }

void tell_allocated(const void* object, std::size_t bytes) noexcept {
  for (const Hooks& hooks : to_be_told()) {
    if (hooks.on_allocated != nullptr) hooks.on_allocated(object, bytes);
  }
}

void tell_freed(const void* object) noexcept {
  for (const Hooks& hooks : to_be_told()) {
    if (hooks.on_freed != nullptr) hooks.on_freed(object);
  }
}

}  // namespace arenascan::api
