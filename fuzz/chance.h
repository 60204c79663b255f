// Records of a trace made by chance: so a few bytes stand for much, and for sequences that mutation would take long to
// put together. A fork asks for them where the number of its thread says more than how much time passes (model.h).
#pragma once

#include <array>
#include <cstdint>
#include <random>

#include "api/trace/record.h"
#include "fuzz/records.h"

namespace arenascan::fuzz {

class Chance {
 public:
  explicit Chance(std::uint32_t seed) : random_(seed), most_objects_(4 + below(60)), scans_in_64_(below(8)) {}

  trace::Record next() {
    using trace::Op;
    // Each as often as it is here; scans come on top.
    constexpr std::array kOps = {Op::kMalloc,      Op::kMalloc,  Op::kMalloc,   Op::kMalloc, Op::kCalloc,
                                 Op::kMemalign,    Op::kNew,     Op::kNewArray, Op::kStore,  Op::kStore,
                                 Op::kStore,       Op::kStore,   Op::kStore,    Op::kStore,  Op::kRoot,
                                 Op::kRoot,        Op::kFree,    Op::kFree,     Op::kFree,   Op::kDelete,
                                 Op::kDeleteArray, Op::kRealloc, Op::kRealloc,  Op::kRealloc};
    constexpr std::array kSeldom = {Op::kNotLeak, Op::kIgnore, Op::kNoScan, Op::kDisable,
                                    Op::kEnable,  Op::kStart,  Op::kEnd,    Op::kFork};
    trace::Record record;
    record.op = below(64) < scans_in_64_ ? Op::kScan
                : below(16) == 0         ? kSeldom[below(kSeldom.size())]
                                         : kOps[below(kOps.size())];
    record.thread = static_cast<std::uint16_t>(below(4) == 0 ? below(1 << 16) : below(kThreads));
    record.object = number(record.thread);
    record.other = below(8) == 0 ? 0 : number(record.thread);
    record.detail = static_cast<std::uint8_t>(below(4) == 0 ? below(17) : 0);
    const bool is_store = record.op == Op::kStore || record.op == Op::kRoot;
    const bool has_all_bits = below(4) == 0;
    const std::uint64_t low = has_all_bits && !is_store ? below(UINT32_MAX) : below(1U << below(20));
    record.value = low | std::uint64_t{has_all_bits ? below(is_store ? 1 << 16 : UINT32_MAX) : 0} << 32;
    return trace::normalized(record);
  }

 private:
  static constexpr std::uint32_t kThreads = 4;

  // Of an object. Most of the time each thread has some of its own, so that none waits for another; then others.
  std::uint32_t number(std::uint32_t thread) {
    if (numbers_++ % 64 == 0) {
      are_apart_ = below(4) != 0;
      shift_ = below(kThreads);
    }
    const std::uint32_t any = 1 + below(most_objects_);
    return are_apart_ ? any / kThreads * kThreads + (thread + shift_) % kThreads : any;
  }
  std::uint32_t below(std::uint32_t count) { return static_cast<std::uint32_t>(random_() % count); }

  std::mt19937 random_;
  std::uint32_t most_objects_;
  std::uint32_t scans_in_64_;
  std::uint32_t numbers_ = 0;  // so far
  bool are_apart_ = false;
  std::uint32_t shift_ = 0;
};

// Calls visit(record) for each record of an input, and for those that it asks for.
template <typename Visit>
void for_each_record(const Records& records, Visit&& visit) {
  constexpr std::uint16_t kLeastThread = 32;
  constexpr int kMade = 128;
  int left = 4;  // so that no input takes a second
  records.for_each([&](const trace::Record& record) {
    visit(record);
    if (record.op != trace::Op::kFork || record.thread < kLeastThread || left-- <= 0) return;
    Chance chance(record.thread);
    for (int i = 0; i < kMade; ++i) visit(chance.next());
  });
}

}  // namespace arenascan::fuzz
