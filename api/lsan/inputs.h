// The input of a fuzzer that is being run, or was run last (arenascan/fuzz.h).
//
// Threads: any. Called by: checks.
#pragma once

#include <cstdint>

namespace arenascan::api::lsan {

// Where its births begin, for ScanSettings::born_since; 0: nobody has told of any input.
std::uint32_t input_began_at() noexcept;

}  // namespace arenascan::api::lsan
