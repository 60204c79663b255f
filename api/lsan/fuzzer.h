// libFuzzer counts the allocations and frees of each input and asks for a check when they differ; this connects it.
//
// It installs its counting functions by __sanitizer_install_malloc_and_free_hooks. A program built with
// -fsanitize=fuzzer alone has a runtime of its own that defines this function, and calls the hooks from
// __sanitizer::RunMallocHooks, in an allocator that is not there. So where the program has libFuzzer and that runtime,
// RunMallocHooks and its like become hooks of ours. They are found by the linker (static library) or in the program's
// table of symbols (shared library, or preloaded).
//
// Threads: the one that begins the process. Called by: face.
#pragma once

namespace arenascan::api::lsan {

void connect_libfuzzer() noexcept;

}  // namespace arenascan::api::lsan
