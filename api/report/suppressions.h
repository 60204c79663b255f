// Leaks that the user knows of and does not want reported, in LeakSanitizer's form: lines of text.
//
//     # comment
//     leak:PATTERN
//
// A leak is suppressed when PATTERN is found in the path of the module, the name of the function or the path of the
// source file of any frame of the stack that it was allocated from. In a pattern * stands for any text, ^ at its
// beginning and $ at its end for the ends of the name. What a suppressed leak points to is none either.
//
// Functions and files are asked for once for each stack that leaks (symbolizer.h); the answer is kept.
//
// Threads: add() before there are others; the rest any, concurrently. A Search belongs to one thread. What answers are
// kept is guarded by a lock, which is taken under the scanner's or the last report's only: a fork finds it free.
//
// Called by: last_report, text, the library's faces (api/face.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "alloc/meta_vector.h"
#include "alloc/stack_table.h"
#include "api/report/resolver.h"

namespace arenascan::api::report {

// Whether the pattern of a suppression fits a name; it fits no empty one.
bool pattern_matches(std::string_view pattern, std::string_view name) noexcept;

class Suppressions {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  constexpr Suppressions() = default;

  // Adds those of `text`, which is copied. A line that is none is told to `complain`, in one line that names it and
  // what would be right, and left out; `source` names the text. False: there was one, or no memory.
  using Complaint = void (*)(std::string_view line);
  bool add(std::string_view text, std::string_view source, Complaint complain) noexcept;

  // Those of a file of at most 64 MiB.
  bool add_file(const char* path, Complaint complain) noexcept;

  [[nodiscard]] bool empty() const noexcept { return patterns_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return patterns_.size(); }
  [[nodiscard]] std::string_view pattern(std::size_t i) const noexcept { return patterns_[i].text; }

  // Which suppression covers a stack that a search was asked for; kNone: none does, or none was asked.
  [[nodiscard]] std::uint32_t covering(alloc::StackId stack) noexcept;

  // Whether the suppression has ever covered one.
  [[nodiscard]] bool was_used(std::size_t i) noexcept;

  // Asks for the length of one scan. Small: it lies on the stack of whoever scans, where an old word in a hole would
  // count as a root.
  class Search {
   public:
    Search(Suppressions& suppressions, const alloc::StackTable& stacks) noexcept
        : suppressions_(suppressions), stacks_(stacks) {}
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;

    bool covers(alloc::StackId stack) noexcept;

   private:
    std::uint32_t find(alloc::StackId stack) noexcept;

    Suppressions& suppressions_;
    const alloc::StackTable& stacks_;
    Resolver* resolver_ = nullptr;  // once it is needed
  };

 private:
  std::mutex mutex_;
  struct Pattern {
    std::string_view text;
    bool used = false;  // mutex_
  };
  struct Answer {
    alloc::StackId stack = alloc::kNoStack;
    std::uint32_t pattern = kNone;
  };
  [[nodiscard]] std::uint32_t first_match(std::string_view name) const noexcept;
  [[nodiscard]] std::size_t slot_of_locked(alloc::StackId stack) const noexcept;
  [[nodiscard]] const Answer* answer_locked(alloc::StackId stack) const noexcept;
  void keep(Answer answer) noexcept;
  bool grow_locked() noexcept;

  alloc::MetaVector<Pattern> patterns_;
  alloc::MetaVector<Answer> answers_;  // mutex_; a hash table, at most half full
  std::size_t answer_count_ = 0;       // mutex_
};

}  // namespace arenascan::api::report
