// The functions of <sanitizer/lsan_interface.h>, which describes them. What differs from LeakSanitizer is said in
// README.md.
#include <cerrno>
#include <cstddef>

#include "alloc/check.h"
#include "alloc/os.h"
#include "api/lsan/checks.h"
#include "api/process.h"
#include "api/registered_roots.h"
#include "arenascan/arena.h"

using namespace arenascan;

// NOLINTBEGIN(*reserved-identifier)
#pragma GCC visibility push(default)
extern "C" {

void __lsan_disable() { api::disable_leaks(); }

void __lsan_enable() {
  if (!api::enable_leaks()) api::lsan::die("Unmatched call to __lsan_enable().");
}

void __lsan_ignore_object(const void* p) {
  const alloc::ErrnoKeeper keeper;
  arena_not_leak(p);
}

void __lsan_register_root_region(const void* p, std::size_t size) {
  const int error = api::add_root(api::process().roots, p, size);
  if (error == 0) return;
  alloc::FixedText line;
  line.text("ERROR: LeakSanitizer: __lsan_register_root_region(): region at ").pointer(p).text(" of size ");
  line.decimal(size).text(error == ENOMEM ? " finds no memory" : " goes beyond the end of memory");
  api::lsan::die(line.view());
}

void __lsan_unregister_root_region(const void* p, std::size_t size) {
  if (api::remove_root(api::process().roots, p, size) == 0) return;
  alloc::FixedText line;
  line.text("__lsan_unregister_root_region(): region at ").pointer(p).text(" of size ").decimal(size);
  line.text(" has not been registered.");
  api::lsan::die(line.view());
}

void __lsan_do_leak_check() { api::lsan::check_once(); }

int __lsan_do_recoverable_leak_check() { return api::lsan::check_now() != 0 ? 1 : 0; }

}  // extern "C"
#pragma GCC visibility pop
// NOLINTEND(*reserved-identifier)
