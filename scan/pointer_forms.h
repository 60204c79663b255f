// In which forms a pointer is looked for.
//
// A compiler keeps pointers as whole words, at addresses that are multiples of their size, and only that is looked for
// unless the program's options say more: in packed structures they lie anywhere; some runtimes keep a tag in the
// highest bits, which the processor or the runtime takes off; an array may be known by its end alone. Each makes a scan
// slower, and makes it more probable that a number passes for a pointer.
//
// Low bits need no option: a pointer into an object is as good as one to its beginning. What is compressed to less than
// a word is not looked for, since nobody but the program knows from where it counts.
//
// Threads: any; the words may change while they are read.
// Called by: mark_lane, marker.
#pragma once

#include <cstddef>
#include <cstdint>

namespace arenascan::scan {

struct PointerForms {
  static constexpr unsigned kMostTagBits = 16;

  bool unaligned = false;
  bool past_end = false;  // the address behind an object's last byte is a pointer to it, too
  unsigned tag_bits = 0;  // so many of the highest bits are none of the address

  [[nodiscard]] constexpr bool are_plain() const noexcept { return !unaligned && !past_end && tag_bits == 0; }

  // How far a pointer may reach out of a piece of memory of which all whole words are read.
  [[nodiscard]] constexpr std::size_t overlap_bytes() const noexcept {
    return unaligned ? sizeof(std::uintptr_t) - 1 : 0;
  }

  // Calls visit(word, address of it) for each word of the memory that may be a pointer, in the form that points into an
  // object.
  template <typename Visit>
  [[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void for_each_word(std::uintptr_t begin, std::uintptr_t end,
                                                                           Visit&& visit) const noexcept {
    constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
    const std::uintptr_t step = unaligned ? 1 : kWord;
    const std::uintptr_t address_bits = ~std::uintptr_t{0} >> tag_bits;
    for (std::uintptr_t at = (begin + step - 1) & ~(step - 1); at + kWord <= end && at + kWord > at; at += step) {
      const std::uintptr_t word = reinterpret_cast<const volatile Unaligned*>(at)->word & address_bits;  // one load
      visit(word, at);
      if (past_end) visit(word - 1, at);
    }
  }

 private:
  struct [[gnu::packed]] Unaligned {
    std::uintptr_t word;
  };
};

}  // namespace arenascan::scan
