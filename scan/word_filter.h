// Which words of a block of memory could point into the heap: the first and by far the most frequent question of the
// mark, asked of every word of every root and reached object. One subtraction and one compare answer it.
//
// The words that pass are copied out, once loaded and never loaded again: the program may write them meanwhile, and
// what is looked up later has to be what was compared. There is no branch on a single word, whose outcome nobody could
// predict: each word is stored behind the ones that passed and stays if it passes, too. By AVX-512, eight words at a
// time (small objects), or AVX2, four, where the processor has it; where 32 words in a row of a large block are none,
// as in text and pictures, the copy is skipped.
//
// Small objects, of which a heap has the most, are read 64 slots at a time (filter_objects), since what a call costs,
// and a loop whose length nobody can predict, would cost more than their words: every slot of a page takes the same
// number of vectors, and what lies behind an object's end is cut off by a mask.
//
// Threads: any; the words may change while they are read (each is loaded whole).
// Called by: marker.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/heap_view.h"

namespace arenascan::scan {

// Words from `begin` on, as many bytes.
struct Window {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
};

// Room that `out` needs behind the words that may pass.
inline constexpr std::size_t kFilterSlack = 8;

// Copies those of the `count` words at `words`, which is a multiple of 8, that lie in the window to `out`, in order;
// returns how many.
std::size_t filter_words(const std::uintptr_t* words, std::size_t count, Window window, std::uintptr_t* out) noexcept;

// The same for the objects in the slots `first` + i of a page for which bit i of `objects` is set. Their slots are of
// at most kSmallSlotBytes; `bytes` becomes the sum of their sizes.
inline constexpr std::size_t kSmallSlotBytes = 256;
inline constexpr std::size_t kMostWordsOfGroup = 64 * kSmallSlotBytes / sizeof(std::uintptr_t);
std::size_t filter_objects(const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window,
                           std::uintptr_t* out, std::uint64_t& bytes) noexcept;

// Asks for the first of these objects and their records from memory, so many; what filter_objects() does next does not
// wait for them then.
inline constexpr unsigned kFetchedAhead = 8;
void fetch_objects(const alloc::Page& page, std::uint32_t first, std::uint64_t objects) noexcept;

// The ways by their own names, for tests. Those of vectors only where the processor has_...() them.
std::size_t filter_words_scalar(const std::uintptr_t* words, std::size_t count, Window window,
                                std::uintptr_t* out) noexcept;
std::size_t filter_words_avx2(const std::uintptr_t* words, std::size_t count, Window window,
                              std::uintptr_t* out) noexcept;
std::size_t filter_objects_scalar(const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window,
                                  std::uintptr_t* out, std::uint64_t& bytes) noexcept;
std::size_t filter_objects_avx2(const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window,
                                std::uintptr_t* out, std::uint64_t& bytes) noexcept;
std::size_t filter_objects_avx512(const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window,
                                  std::uintptr_t* out, std::uint64_t& bytes) noexcept;
bool has_avx2() noexcept;
bool has_avx512() noexcept;

}  // namespace arenascan::scan
