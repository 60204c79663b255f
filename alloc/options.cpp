#include "alloc/options.h"

#include <cstddef>

#include "alloc/check.h"

extern "C" [[gnu::weak]] const char* arena_default_options();

namespace arenascan::alloc {
namespace {

constexpr std::string_view kVariable = "ARENASCAN_OPTIONS";

constinit Options g_options{};  // written by load_options() before there are threads

constexpr OptionRow kRows[] = {
#define ARENA_OPTION(type, name, default_value, least, most, help) \
  option_row<type>(#name, offsetof(Options, name), least, most, help),
#include "alloc/options.def"
#undef ARENA_OPTION
};

}  // namespace

std::size_t parse_options(std::string_view text, std::string_view source, Options& options,
                          ComplaintSink complain) noexcept {
  return parse_table(text, source, kRows, &options, complain);
}

void write_option_help(int fd) noexcept {
  const Options defaults;
  write_table(fd, kRows, &defaults);
}

void load_options(OptionSource more) noexcept {
  if (arena_default_options != nullptr) {
    if (const char* const text = arena_default_options()) {
      parse_options(text, "arena_default_options", g_options, write_line);
    }
  }
  if (more != nullptr) more(g_options);
  parse_options(read_start_variable(kVariable), kVariable, g_options, write_line);
  if (g_options.help) {
    constexpr int kStandardError = 2;
    write_line("arenascan: options, for ARENASCAN_OPTIONS=\"key=value:key=value\" or arena_default_options():");
    write_option_help(kStandardError);
  }
}

const Options& options() noexcept { return g_options; }

}  // namespace arenascan::alloc
