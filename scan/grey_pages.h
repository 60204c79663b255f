// Where grey objects wait to be read: the pages that hold any, first come first served, and in which parts of them.
//
//     queue_   a ring of page numbers              page --> bits_[page]: bit g set: among the slots 64 g to 64 g + 63
//                                                           there may be grey ones; their marks tell which
//
// A page waits until it comes up, and gathers grey objects meanwhile; then all of them are read in the order of their
// addresses, which is what memory is fastest at. Where objects are found one by one, as along a list, a page comes up
// with one object in it, and the bits lead straight to its 64 marks. scan/README.md has the orders this was measured
// against.
//
// Page numbers count 64 KiB pages from the beginning of the heap; a span is known by its first one. A page is in the
// ring when, and only when, it has bits; so the ring cannot overflow, and both arrays are made before the mark.
//
// Threads: one at a time. Called by: mark_lane.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "alloc/meta_vector.h"

namespace arenascan::scan {

class GreyPages {
 public:
  static constexpr unsigned kGroupShift = 6;  // 64 slots a bit, and at most 64 bits a page
  static constexpr std::uint32_t kGroupSlots = 1U << kGroupShift;

  // Makes room for pages 0 to `pages - 1`. Nothing may be waiting. False: no memory.
  [[nodiscard]] bool reserve(std::size_t pages) noexcept {
    const std::size_t wanted = std::bit_ceil(pages + 1);
    if (wanted <= bits_.size()) return true;
    alloc::MetaVector<std::uint64_t> bits;
    alloc::MetaVector<std::uint32_t> queue;
    if (!bits.resize(wanted) || !queue.resize(wanted)) return false;
    bits_ = std::move(bits);
    queue_ = std::move(queue);
    head_ = tail_ = 0;
    return true;
  }

  // Adds many; what it counts is seen by nobody else before it ends.
  class Adder {
   public:
    explicit Adder(GreyPages& to) noexcept
        : to_(to), bits_(to.bits_.begin()), queue_(to.queue_.begin()), mask_(to.queue_.size() - 1), tail_(to.tail_) {}
    Adder(const Adder&) = delete;
    Adder& operator=(const Adder&) = delete;
    ~Adder() { to_.tail_ = tail_; }

    // Slot `index` of the page is grey, or not: nothing happens then, and no branch asks which.
    void add_if(bool is_grey, std::size_t page, std::uint32_t index) noexcept {
      const std::uint64_t before = bits_[page];
      bits_[page] = before | std::uint64_t{is_grey} << (index >> kGroupShift);
      queue_[tail_ & mask_] = static_cast<std::uint32_t>(page);
      tail_ += static_cast<std::size_t>(before == 0) & static_cast<std::size_t>(is_grey);
    }

   private:
    GreyPages& to_;
    std::uint64_t* const bits_;
    std::uint32_t* const queue_;
    const std::size_t mask_;
    std::size_t tail_;
  };

  // All of these groups of the page.
  void add_groups(std::size_t page, std::uint64_t groups) noexcept {
    if (groups == 0) return;
    if (bits_[page] == 0) queue_[tail_++ & (queue_.size() - 1)] = static_cast<std::uint32_t>(page);
    bits_[page] |= groups;
  }

  [[nodiscard]] bool empty() const noexcept { return head_ == tail_; }
  [[nodiscard]] std::size_t size() const noexcept { return tail_ - head_; }

  // The page that has waited longest, with its bits. There must be one.
  struct Waiting {
    std::size_t page;
    std::uint64_t groups;
  };
  Waiting pop() noexcept {
    const std::size_t page = queue_[head_++ & (queue_.size() - 1)];
    return {page, std::exchange(bits_[page], 0)};
  }

 private:
  alloc::MetaVector<std::uint64_t> bits_;
  alloc::MetaVector<std::uint32_t> queue_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

}  // namespace arenascan::scan
