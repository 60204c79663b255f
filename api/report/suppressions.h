// Leaks that the user knows of and does not want reported (suppression_list.h).
//
// A leak is suppressed when a pattern fits the path of the module, the name of the function or the path of the source
// file of any frame of the stack that it was allocated from. What a suppressed leak points to is none either.
//
// Functions and files are asked for once for each stack that leaks (symbolizer.h); the answer is kept.
//
// Threads: any, concurrently. A Search belongs to one thread. What answers are
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
#include "api/report/suppression_list.h"

namespace arenascan::api::report {

class Suppressions {
 public:
  static constexpr std::uint32_t kNone = SuppressionList::kNone;

  constexpr Suppressions() = default;

  // What there is; added to before there are scans.
  [[nodiscard]] SuppressionList& list() noexcept { return list_; }

  // Which suppression covers a stack that a search was asked for; kNone: none does, or none was asked.
  [[nodiscard]] std::uint32_t covering(alloc::StackId stack) noexcept;

  // Whether the suppression has ever covered one.
  [[nodiscard]] bool was_used(std::size_t i) noexcept;
  [[nodiscard]] bool has_unused() noexcept;

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
  SuppressionList list_;
  std::mutex mutex_;
  struct Answer {
    alloc::StackId stack = alloc::kNoStack;
    std::uint32_t pattern = kNone;
  };
  [[nodiscard]] std::size_t slot_of_locked(alloc::StackId stack) const noexcept;
  [[nodiscard]] const Answer* answer_locked(alloc::StackId stack) const noexcept;
  void note_used_locked(std::uint32_t pattern) noexcept;
  void keep(Answer answer) noexcept;
  bool grow_locked() noexcept;

  alloc::MetaVector<std::uint8_t> used_;  // mutex_; by number; those behind its end were not
  alloc::MetaVector<Answer> answers_;     // mutex_; a hash table, at most half full
  std::size_t answer_count_ = 0;          // mutex_
};

}  // namespace arenascan::api::report
