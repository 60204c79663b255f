// The options of the process: one table (options.def) from which the struct, the parser, the help text and the
// documentation come; option_table.h has the form of texts.
//
// Sources, later ones win: the weak function arena_default_options() of the program, what the library's face adds
// (api/face.h), the environment variable ARENASCAN_OPTIONS. Complaints are lines on standard error.
//
// Threads: load_options() runs once, in the heap's one-time set-up, before any other thread exists; from then on the
// table is only read. Nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "alloc/option_table.h"

namespace arenascan::alloc {

struct Options {
#define ARENA_OPTION(type, name, default_value, least, most, help) type name = default_value;
#include "alloc/options.def"
#undef ARENA_OPTION
};

// parse_table() with the process's table.
std::size_t parse_options(std::string_view text, std::string_view source, Options& options,
                          ComplaintSink complain) noexcept;

// write_table() with the process's table and its defaults.
void write_option_help(int fd) noexcept;

// Reads all sources into the process's options; complaints go to standard error; prints the help when `help=1`. `more`
// is asked before the environment; null: there is nothing more.
using OptionSource = void (*)(Options& options);
void load_options(OptionSource more = nullptr) noexcept;

// The process's options; the defaults until load_options() has run.
const Options& options() noexcept;

}  // namespace arenascan::alloc
