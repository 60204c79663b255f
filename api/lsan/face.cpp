// LeakSanitizer's face: its options, its suppressions, its check at exit.
#include "api/face.h"

#include "alloc/check.h"
#include "api/last_report.h"
#include "api/lsan/checks.h"
#include "api/lsan/fuzzer.h"
#include "api/lsan/options.h"
#include "api/process.h"

extern "C" int __lsan_do_recoverable_leak_check();                   // NOLINT(*reserved-identifier)
extern "C" [[gnu::weak]] const char* __lsan_default_suppressions();  // NOLINT(*reserved-identifier)

namespace arenascan::api {
namespace {

// Stands for interface.cpp, which a static link must take along although who calls it (libFuzzer) does so only if it is
// there.
[[gnu::used]] int (*const kKeep)() = __lsan_do_recoverable_leak_check;

void die_without_memory(std::size_t bytes) noexcept {
  alloc::FixedText line;
  line.text("ERROR: LeakSanitizer: an allocation of ").hex(bytes);
  line.text(" bytes failed; allocator_may_return_null=1 lets it return null");
  lsan::die(line.view());
}

void add_suppressions() noexcept {
  report::SuppressionList& suppressions = process_suppressions().list();
  bool is_good = true;
  if (const char* const path = alloc::options().suppressions.chars; *path != 0) {
    is_good = suppressions.add_file(path, alloc::write_line);
  }
  if (__lsan_default_suppressions != nullptr) {
    const char* const text = __lsan_default_suppressions();
    if (text != nullptr) is_good = suppressions.add(text, "__lsan_default_suppressions", alloc::write_line) && is_good;
  }
  if (!is_good) lsan::die("LeakSanitizer: failed to parse suppressions.");
}

}  // namespace

void face::load_options(alloc::Options& options) noexcept { lsan::load_options(options); }

void face::begin() noexcept {
  if (!lsan::options().allocator_may_return_null) process().on_no_memory = die_without_memory;
  add_suppressions();
  lsan::connect_libfuzzer();
}

bool face::scans_at_exit() noexcept {
  return alloc::options().at_exit && !lsan::was_checked_once() && !lsan::is_turned_off();
}

const bool face::kTellsNoLeaks = false;

}  // namespace arenascan::api
