// From a Verdict to the public struct of figures.
#pragma once

#include "arenascan/arena.h"
#include "scan/pace.h"
#include "scan/verdict.h"

namespace arenascan::api {

// Overwrites everything but `size`.
void fill_result(const scan::Verdict& verdict, arena_scan_result& result) noexcept;

}  // namespace arenascan::api
