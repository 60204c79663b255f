/* Leaks of one input of a fuzzer. For harnesses that are not linked by the CMake function arenascan_add_fuzzer, which
 * puts these calls around LLVMFuzzerTestOneInput: AFL++'s persistent mode, loops of one's own. They are in
 * libarenascan_lsan.
 */
#ifndef ARENASCAN_FUZZ_H
#define ARENASCAN_FUZZ_H

#include <stddef.h>

#pragma GCC visibility push(default)

#ifdef __cplusplus
extern "C" {
#endif

/* An input begins. One at a time in a process. */
void arena_input_begin(void);

/* It is over. Returns the number of objects that were allocated since it began, by any thread, and are leaked now; 0
 * between arena_disable and arena_enable (or the same of LeakSanitizer's interface), which libFuzzer puts around a
 * second run. The heap is scanned only when such an object is still there, so most inputs cost nothing. Prints nothing.
 * libFuzzer is told the truth: where the input has leaked nothing, what it counts of allocations and frees is made
 * even, so that it does not run the input again. */
size_t arena_input_end(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#pragma GCC visibility pop

#endif /* ARENASCAN_FUZZ_H */
