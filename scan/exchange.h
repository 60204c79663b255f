// Words on their way between lanes that work side by side on one mark.
//
// Each page has one owner among the lanes, by its number; only the owner reads and writes the colours of its objects,
// so no colour needs an atomic exchange, no object is read twice, and what is black in the end does not depend on who
// was faster. A lane that reads a pointer to another's page sends it there:
//
//     lane i --send(i, j)--> | ring i,j | --receive(j)--> lane j, which only colours what it receives
//
// Receiving never leads to sending, so whoever finds a ring full receives meanwhile, and nobody waits in a circle.
//
// The end: a lane that has nothing to do is parked. When all are, and all rings are empty, and no one was unparked in
// between, everything is marked (the count of parked ones and the count of unparkings share one word, which is compared
// before and after). A lane that was parked for a while although there is work has found that there is not enough
// for all: it calls end(), and so may whoever wants the mark to stop. What is left then is one lane's to finish.
//
// Memory order: a ring's words are published by its tail (release, acquire) and given back by its head (likewise).
// Parking is acq_rel: who sees a lane parked sees what it sent before.
//
// Threads: as told at each function. Called by: mark_lane, marker.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/meta_vector.h"

namespace arenascan::scan {

inline constexpr std::size_t kMostLanes = 8;

// When to stop for a while: asked now and then, by one thread; a question takes some 30 ns.
struct Until {
  bool (*is_over)(void* argument);
  void* argument;
  [[nodiscard]] bool operator()() const noexcept { return is_over(argument); }
};

class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // For so many lanes, which are about to begin. All rings have to be empty. False: no memory. One thread.
  [[nodiscard]] bool begin(std::size_t lanes) noexcept;

  [[nodiscard]] std::size_t lanes() const noexcept { return lanes_; }

  // Whose page that is. Neighbours have the same owner, to keep it among nearby memory.
  [[nodiscard]] std::size_t owner_of(std::size_t page_number) const noexcept {
    const auto mixed = static_cast<std::uint32_t>((page_number >> kNeighboursShift) * 0x9E3779B1U);
    return std::uint64_t{mixed} * lanes_ >> 32;
  }

  // Lane `from` sends words to `to`. Returns how many there was room for.
  std::size_t send(std::size_t from, std::size_t to, const std::uintptr_t* words, std::size_t count) noexcept;

  // Calls take(words, count) for pieces of at most `most` words sent to lane `to`, until there are no more. False:
  // there were none. Lane `to`; or anybody, when no lane runs.
  template <typename Take>
  bool receive(std::size_t to, std::size_t most, Take&& take) noexcept;

  // Lane `self` has nothing to do, and has sent all. Returns when it has again: true; or when the lanes are to
  // stop: false. Null or asked now and then: should they?
  [[nodiscard]] bool park(std::size_t self, const Until* until) noexcept;

  // All lanes stop soon. Any of them.
  void end() noexcept { ended_.store(true, std::memory_order_relaxed); }
  // A hint when to look: what is left behind is published by the end of the threads' round.
  [[nodiscard]] bool has_ended() const noexcept { return ended_.load(std::memory_order_relaxed); }

 private:
  static constexpr unsigned kNeighboursShift = 4;
  static constexpr std::size_t kRingWords = 4096;
  static constexpr std::size_t kLineBytes = 64;

  struct Ring {
    std::atomic<std::size_t> head;  // written by the receiver
    char pad_head[kLineBytes - sizeof(std::size_t)];
    std::atomic<std::size_t> tail;  // written by the sender
    char pad_tail[kLineBytes - sizeof(std::size_t)];
    std::uintptr_t words[kRingWords];
  };
  [[nodiscard]] Ring& ring(std::size_t from, std::size_t to) const noexcept { return rings_[from * lanes_ + to]; }
  [[nodiscard]] bool has_mail(std::size_t to) const noexcept;
  [[nodiscard]] bool all_empty() const noexcept;

  static constexpr std::uint64_t kUnparked = std::uint64_t{1} << 32;

  std::size_t lanes_ = 1;
  alloc::MetaVector<char> memory_;  // in the tool's: anywhere else these words would keep objects alive
  Ring* rings_ = nullptr;
  std::size_t ring_count_ = 0;
  std::atomic<std::uint64_t> parked_{0};  // how many are, and kUnparked times how often one went on; written by all
  std::atomic<bool> ended_{false};        // written by all
};

template <typename Take>
bool Exchange::receive(std::size_t to, std::size_t most, Take&& take) noexcept {
  bool any = false;
  for (std::size_t from = 0; from < lanes_; ++from) {
    if (from == to) continue;
    Ring& mail = ring(from, to);
    std::size_t head = mail.head.load(std::memory_order_relaxed);
    const std::size_t tail = mail.tail.load(std::memory_order_acquire);
    while (head != tail) {
      const std::size_t at = head % kRingWords;
      std::size_t count = tail - head;
      if (count > kRingWords - at) count = kRingWords - at;
      if (count > most) count = most;
      take(mail.words + at, count);
      head += count;
      mail.head.store(head, std::memory_order_release);
      any = true;
    }
  }
  return any;
}

}  // namespace arenascan::scan
