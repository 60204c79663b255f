// Traces that other tools write:
//
//     memory_replay (Android)   `TID: malloc PTR SIZE`, calloc PTR COUNT SIZE, realloc NEW OLD SIZE, memalign PTR
//                               ALIGNMENT SIZE, free PTR, thread_done; two times of the clock may follow
//     malloclab (CS:APP)        four numbers, then `a ID SIZE`, `r ID SIZE`, `f ID`
//     mtrace (glibc)            `= Start`, then `@ PLACE + PTR SIZE`, `- PTR`, `< OLD` and `> NEW SIZE`
//     heaptrack, raw            `v VERSION`, then among others `+ SIZE TRACE PTR` and `- PTR`, all in hexadecimal
//
// All of them know objects by address or number, and nothing of what is stored in them.
//
// Threads: no state. Called by: file.
#pragma once

#include "api/trace/file.h"

namespace arenascan::trace {

using ForeignReader = Trace (*)(LineReader& lines);

// The reader for a file that begins so; null: none.
[[nodiscard]] ForeignReader foreign_reader(std::string_view beginning) noexcept;

}  // namespace arenascan::trace
