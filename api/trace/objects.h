// Numbers for objects that a foreign trace knows by address or by a number of its own.
//
// A number goes to the next object when its own is gone, so a long trace needs no more of them than objects are alive
// at a time.
//
// Threads: one at a time. Called by: foreign.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace arenascan::trace {

class Objects {
 public:
  // The number of a live object; 0: there is none.
  [[nodiscard]] std::uint32_t find(std::uint64_t name) const {
    const auto found = numbers_.find(name);
    return found == numbers_.end() ? 0 : found->second;
  }

  // A number for a new object. Its name must not be that of a live one.
  std::uint32_t add(std::uint64_t name) {
    std::uint32_t number = 0;
    if (free_.empty()) {
      number = ++most_;
    } else {
      number = free_.back();
      free_.pop_back();
    }
    numbers_.emplace(name, number);
    return number;
  }

  void remove(std::uint64_t name) {
    const auto found = numbers_.find(name);
    if (found == numbers_.end()) return;
    free_.push_back(found->second);
    numbers_.erase(found);
  }

 private:
  std::unordered_map<std::uint64_t, std::uint32_t> numbers_;
  std::vector<std::uint32_t> free_;
  std::uint32_t most_ = 0;
};

}  // namespace arenascan::trace
