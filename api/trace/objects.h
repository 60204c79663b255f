// Numbers for objects that are known by another name (an address).
//
// A number goes to the next object when its own is gone, so a long trace needs no more of them than objects are alive
// at a time.
//
// Threads: one at a time. Called by: builder.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace arenascan::trace {

class Objects {
 public:
  // A number for a new object, whose name must not be that of another.
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

  // The object of that name loses it; its number, or 0: there is none.
  std::uint32_t take_name(std::uint64_t name) {
    const auto found = numbers_.find(name);
    if (found == numbers_.end()) return 0;
    const std::uint32_t number = found->second;
    numbers_.erase(found);
    return number;
  }

  // An object without a name gets one again.
  void give_name(std::uint64_t name, std::uint32_t number) {
    if (number != 0) numbers_.emplace(name, number);
  }

  // The object without a name is gone.
  void give_back(std::uint32_t number) {
    if (number != 0) free_.push_back(number);
  }

 private:
  std::unordered_map<std::uint64_t, std::uint32_t> numbers_;
  std::vector<std::uint32_t> free_;
  std::uint32_t most_ = 0;
};

}  // namespace arenascan::trace
