// Suppressions as text, in LeakSanitizer's form, and what they match.
//
//     # comment
//     leak:PATTERN
//
// A pattern fits a name in which it stands. In it * stands for any text; ^ at its beginning and $ at its end stand for
// the ends of the name.
//
// Threads: add() before there are others; the rest any, concurrently. Called by: suppressions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "alloc/meta_vector.h"

namespace arenascan::api::report {

// Whether the pattern fits a name; none fits an empty one.
bool pattern_matches(std::string_view pattern, std::string_view name) noexcept;

class SuppressionList {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  constexpr SuppressionList() = default;
  ~SuppressionList();
  SuppressionList(const SuppressionList&) = delete;
  SuppressionList& operator=(const SuppressionList&) = delete;

  // Adds those of `text`, which is copied. A line that is none is told to `complain`, in one line
  // that names it and what would be right, and left out; `source` names the text. False: there was one, or no memory.
  using Complaint = void (*)(std::string_view line);
  bool add(std::string_view text, std::string_view source, Complaint complain) noexcept;

  // Those of a file of at most 64 MiB.
  bool add_file(const char* path, Complaint complain) noexcept;

  [[nodiscard]] bool empty() const noexcept { return patterns_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return patterns_.size(); }
  [[nodiscard]] std::string_view pattern(std::size_t i) const noexcept { return patterns_[i]; }

  // The first that fits, or kNone.
  [[nodiscard]] std::uint32_t first_match(std::string_view name) const noexcept;

 private:
  alloc::MetaVector<std::string_view> patterns_;  // in texts_
  alloc::MetaVector<char*> texts_;
};

}  // namespace arenascan::api::report
