// LSAN_OPTIONS: one table (options.def), most of whose rows name members of the process's own options.
//
// Sources, later ones win: the weak function __lsan_default_options() of the program, the environment variable
// LSAN_OPTIONS; ARENASCAN_OPTIONS wins over both. `include=PATH` stands for what is in the file, in its place.
//
// Threads: loaded once, in the heap's set-up; only read afterwards. Called by: face, interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "alloc/options.h"

namespace arenascan::api::lsan {

struct Options {
  static constexpr unsigned kUnset = UINT32_MAX;

  alloc::Options core;  // the process's
  bool help = false;
  bool detect_leaks = true;
  bool allocator_may_return_null = true;
  unsigned verbosity = 0;
  unsigned malloc_context_size = kUnset;
  alloc::OptionText include;
  bool ignored_flag = false;
  unsigned ignored_number = 0;
  alloc::OptionText ignored_text;
};

// Parses `text` over `options`. Complaints are lines as of alloc::parse_table(), and lines about files that cannot be
// read, are longer than 16 KiB, or include each other more than four deep. Returns their number.
std::size_t parse_options(std::string_view text, std::string_view source, Options& options,
                          alloc::ComplaintSink complain) noexcept;

// Reads all sources; what they say of the process's options is put into `core`.
void load_options(alloc::Options& core) noexcept;

const Options& options() noexcept;

}  // namespace arenascan::api::lsan
