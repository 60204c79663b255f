// The public C functions over the process's heap; <arenascan/arena.h> describes them.
#include "arenascan/arena.h"

#include <cerrno>
#include <cstring>

#include "alloc/check.h"
#include "api/explain.h"
#include "api/last_report.h"
#include "api/process.h"
#include "api/registered_roots.h"
#include "api/result.h"

using namespace arenascan;

namespace {

int fail(int error) noexcept {
  errno = error;
  return -1;
}

// 0 for no error.
int result_of(int error) noexcept { return error == 0 ? 0 : fail(error); }

int annotate(const void* p, std::uint8_t policy) noexcept {
  alloc::Object object;
  alloc::HeapView heap(api::process().heap);
  if (!heap.find(reinterpret_cast<std::uintptr_t>(p), object)) return fail(EINVAL);
  return heap.add_policy(object, policy) ? 0 : fail(EINVAL);
}

void tell_progress(const arena_scan_options& options, scan::PaceSettings& pace) noexcept {
  pace.argument = const_cast<arena_scan_options*>(&options);
  pace.go_on = [](const scan::Progress& progress, void* argument) {
    const auto& wanted = *static_cast<const arena_scan_options*>(argument);
    const arena_progress told{
        static_cast<int>(progress.phase), {progress.reached.objects, progress.reached.bytes}, progress.elapsed_ns};
    return wanted.progress(&told, wanted.progress_argument) == 0;
  };
}

}  // namespace

extern "C" {

std::size_t arena_scan() {
  std::size_t leaked = 0;
  api::scan_process(api::scan_settings(),
                    [&](const scan::Verdict& verdict) { leaked = verdict.direct.objects + verdict.indirect.objects; });
  return leaked;
}

int arena_scan_ex(const arena_scan_options* options, arena_scan_result* result) {
  if (options != nullptr &&
      (options->size != sizeof(*options) || options->cpu_percent > 99 || options->markers > scan::kMostLanes)) {
    return fail(EINVAL);
  }
  if (result != nullptr && result->size != sizeof(*result)) return fail(EINVAL);
  scan::ScanSettings settings = api::scan_settings();
  if (options != nullptr) {
    settings.born_since = options->born_since;
    if (options->stop != 0) settings.mark.concurrent = false;
    if (options->markers != 0) settings.mark.lanes = options->markers;
    if (options->cpu_percent != 0) settings.mark.pace.processor_percent = options->cpu_percent;
    if (options->progress != nullptr) tell_progress(*options, settings.mark.pace);
    if (options->second_look_ms != 0) settings.second_look_ns = std::uint64_t{options->second_look_ms} * 1'000'000;
  }
  api::scan_process(settings, [&](const scan::Verdict& verdict) {
    if (result != nullptr) api::fill_result(verdict, *result);
  });
  return 0;
}

int arena_report(int fd, const char* format) {
  if (format == nullptr || std::strcmp(format, "text") != 0) return fail(EINVAL);
  return result_of(api::report_last_scan(fd));
}

int arena_dump(const void* p, int fd) { return result_of(api::describe_object(p, fd)); }

int arena_retainers(const void* p, int fd) { return result_of(api::explain_object(p, fd)); }

int arena_clear() { return result_of(api::clear_leaks()); }

std::uint32_t arena_mark() { return api::process_scanner().mark_time(); }

int arena_not_leak(const void* p) { return annotate(p, alloc::state::kNotLeak); }
int arena_ignore(const void* p) { return annotate(p, alloc::state::kIgnored); }
int arena_no_scan(const void* p) { return annotate(p, alloc::state::kNoScan); }

int arena_add_root(const void* p, std::size_t size) { return result_of(api::add_root(api::process().roots, p, size)); }

int arena_remove_root(const void* p, std::size_t size) {
  return result_of(api::remove_root(api::process().roots, p, size));
}

void arena_disable() { api::disable_leaks(); }

void arena_enable() {
  if (!api::enable_leaks()) alloc::fatal("arena_enable without a matching arena_disable on this thread");
}

}  // extern "C"
