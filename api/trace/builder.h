// Makes a trace from what knows objects by address, or by a number of its own.
//
// What is left out is taken the way it must have been: where an object is made at an address that is in use, the old
// one was released; what is released and was never made was made before the trace began, and says nothing.
//
// Threads: one at a time. Called by: foreign, recording.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "api/trace/file.h"
#include "api/trace/objects.h"

namespace arenascan::trace {

class Builder {
 public:
  // `fail` throws a BadTrace about the place that is being read.
  explicit Builder(std::function<void(const std::string& what)> fail) : fail_(std::move(fail)) {}

  // An object; none when `name` is 0: the allocation failed.
  void make(Op op, std::uint16_t thread, std::uint64_t name, std::uint64_t bytes, std::uint64_t count = 0,
            std::uint64_t alignment = 1);

  // A realloc from `old` (0: none) to `name`.
  void remake(std::uint16_t thread, std::uint64_t name, std::uint64_t old, std::uint64_t bytes);

  // The same in two halves, between which other records may come; one at a time for each thread.
  void begin_remake(std::uint16_t thread, std::uint64_t old);
  void end_remake(std::uint16_t thread, std::uint64_t name, std::uint64_t bytes);

  void release(Op op, std::uint16_t thread, std::uint64_t name);
  void add(Op op, std::uint16_t thread);

  // The number that thread `name` has here: 1, 2, ... in order of appearance.
  std::uint16_t thread(std::uint64_t name);

  Trace take() { return std::move(trace_); }

 private:
  static Record new_record(Op op, std::uint16_t thread);
  void put(Record& record, Place place, std::uint64_t value, const char* what) const;

  struct Old {
    std::uint64_t name;
    std::uint32_t number;
  };

  std::function<void(const std::string& what)> fail_;
  Trace trace_;
  Objects objects_;
  std::unordered_map<std::uint64_t, std::uint16_t> threads_;
  std::unordered_map<std::uint16_t, Old> remade_;  // by thread, between the halves
};

}  // namespace arenascan::trace
