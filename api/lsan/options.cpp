#include "api/lsan/options.h"

#include <algorithm>

#include "alloc/check.h"
#include "alloc/os.h"
#include "api/report/modules.h"

extern "C" [[gnu::weak]] const char* __lsan_default_options();  // NOLINT(*reserved-identifier)

namespace arenascan::api::lsan {
namespace {

using alloc::FixedText;
using alloc::OptionText;

constexpr std::string_view kVariable = "LSAN_OPTIONS";
constexpr std::size_t kDeepest = 4;
constexpr std::size_t kLongestFile = 16384;

constinit Options g_options{};  // written in the set-up, before there are threads

constexpr alloc::OptionRow kRows[] = {
#define LSAN_OPTION(type, name, member, least, most, help) \
  alloc::option_row<type>(#name, offsetof(Options, member), least, most, help),
#include "api/lsan/options.def"
#undef LSAN_OPTION
};

// The path of an included file, with %b and %p replaced.
FixedText file_name(std::string_view path) noexcept {
  FixedText name;
  while (!path.empty()) {
    const std::size_t percent = std::min(path.find('%'), path.size());
    name.text(path.substr(0, percent));
    path.remove_prefix(percent);
    if (path.starts_with("%b")) {
      name.text(report::program_name().view());
    } else if (path.starts_with("%p")) {
      name.decimal(static_cast<std::uint64_t>(alloc::os_process_id()));
    } else {
      name.text(path.substr(0, 1));
      path.remove_prefix(std::min<std::size_t>(1, path.size()));
      continue;
    }
    path.remove_prefix(2);
  }
  return name;
}

class Parser {
 public:
  Parser(Options& options, alloc::ComplaintSink complain) noexcept : options_(options), complain_(complain) {}

  std::size_t parse(std::string_view text, std::string_view source) noexcept {
    std::size_t complaints = 0;
    for (std::string_view entry = alloc::next_option(text); !entry.empty(); entry = alloc::next_option(text)) {
      complaints += alloc::parse_table(entry, source, kRows, &options_, complain_);
      if (!entry.starts_with("include") || options_.include.view().empty()) continue;
      const bool must_exist = !entry.starts_with("include_if_exists");
      const FixedText path = file_name(options_.include.view());
      options_.include = {};
      complaints += include(path.view(), must_exist);
    }
    return complaints;
  }

 private:
  std::size_t include(std::string_view path, bool must_exist) noexcept {
    static constinit char contents[kDeepest][kLongestFile] = {};
    FixedText name;
    name.text(path).text({"\0", 1});
    if (depth_ == kDeepest) return complain(path, "lies deeper than four files in each other");
    char* const buffer = contents[depth_];
    const std::ptrdiff_t length = alloc::os_read_file(name.view().data(), buffer, kLongestFile);
    if (length < 0) return must_exist ? complain(path, "cannot be read") : 0;
    if (static_cast<std::size_t>(length) == kLongestFile) return complain(path, "is longer than 16 KiB");
    ++depth_;
    const std::size_t complaints = parse({buffer, static_cast<std::size_t>(length)}, path);
    --depth_;
    return complaints;
  }

  std::size_t complain(std::string_view path, std::string_view why) noexcept {
    FixedText line;
    line.text("arenascan: ").text(kVariable).text(": the included file ").quoted(path).text(" ").text(why);
    complain_(line.view());
    return 1;
  }

  Options& options_;
  alloc::ComplaintSink complain_;
  std::size_t depth_ = 0;
};

}  // namespace

std::size_t parse_options(std::string_view text, std::string_view source, Options& options,
                          alloc::ComplaintSink complain) noexcept {
  return Parser(options, complain).parse(text, source);
}

void load_options(alloc::Options& core) noexcept {
  g_options.core = core;
  g_options.core.print_changed = false;  // LeakSanitizer's reports know of none
  if (__lsan_default_options != nullptr) {
    if (const char* const text = __lsan_default_options()) {
      parse_options(text, "__lsan_default_options", g_options, alloc::write_line);
    }
  }
  parse_options(alloc::read_start_variable(kVariable), kVariable, g_options, alloc::write_line);
  if (const unsigned frames = g_options.malloc_context_size; frames != Options::kUnset) {
    g_options.core.stack_depth = std::clamp(frames, 1U, 64U);
  }
  if (g_options.help) {
    constexpr int kStandardError = 2;
    const Options defaults;
    alloc::write_line("Available flags for LeakSanitizer, for LSAN_OPTIONS=\"key=value:key=value\":");
    alloc::write_table(kStandardError, kRows, &defaults);
  }
  core = g_options.core;
}

const Options& options() noexcept { return g_options; }

}  // namespace arenascan::api::lsan
