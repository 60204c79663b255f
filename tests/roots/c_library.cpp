// What the C library allocates for itself and holds by its own variables, or by a thread's: a locale, the loader's last
// error, an exception that is being handled.
// args: locale locale-off error error-off exception exception-off
#include <dlfcn.h>

#include <clocale>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

struct Heavy {
  char text[200];
};

// Leaked objects born since `mark`, from inside a handler. The exception is known to the C++ runtime alone.
[[gnu::noinline]] long leaked_while_handled(std::uint32_t mark) {
  try {
    throw Heavy{};
  } catch (...) {
    scrub_stack();
    return leaked_since(mark);
  }
}

}  // namespace

int main(int, char** argv) {
  const std::string_view what(argv[1]);
  const bool is_off = what.ends_with("off");
  const bool is_locale = what.starts_with("locale");
  if (is_off) switch_off(is_locale ? "use_globals" : "use_tls", argv);
  const std::uint32_t mark = arena_mark();
  long leaked = 0;
  if (what.starts_with("exception")) {
    leaked = leaked_while_handled(mark);
  } else {
    if (is_locale && std::setlocale(LC_ALL, "C.UTF-8") == nullptr) return expect("setlocale", 0, 1);
    if (!is_locale && dlopen("/no/such/library.so", RTLD_NOW) != nullptr) return expect("dlopen", 0, 1);
    scrub_stack();
    leaked = leaked_since(mark);
  }
  if (!is_off) return expect("held", leaked, 0);
  if (leaked > 0) return 0;
  return expect("switched off, at least", leaked, 1);
}
