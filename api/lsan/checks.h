// LeakSanitizer's checks: the one at exit, which may come early, and those that may be repeated.
//
// Threads: any, concurrently. Called by: interface, face, inputs.
#pragma once

#include <cstddef>
#include <string_view>

#include "scan/scanner.h"

namespace arenascan::api::lsan {

// Settings of a check that the program asks for. A fuzzer, which counts allocations, waits for the answer: a mark
// beside its other threads would only take longer.
scan::ScanSettings check_settings() noexcept;

// Ends the process with the option's exit code after the line, which the process id is put in front of.
[[noreturn]] void die(std::string_view line) noexcept;

// Looks for leaks and prints what was found. The number of leaked objects; 0 where nothing can be told.
std::size_t check_now() noexcept;

// The same for the first caller, who ends the process if there are leaks and the exit code is not 0.
void check_once() noexcept;

// Whether it was.
bool was_checked_once() noexcept;

// Whether the options, or the program by __lsan_is_turned_off(), want no leaks to be looked for.
bool is_turned_off() noexcept;

}  // namespace arenascan::api::lsan
