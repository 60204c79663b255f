// The colours of the mark, and what they mean in one scan.
//
//   white   not reached (yet): any mark that is not of this epoch
//   grey    reached, contents not read yet: 2 * epoch
//   black   reached and read:               2 * epoch + 1
//
// A scan begins by moving to the next epoch, which turns every object white at once: there is no whitening loop. There
// are 127 of them; when they wrap round, all marks are cleared to 0, which belongs to no epoch.
//
// kmemleak, where the words come from, means other things by two of them: its "gray" includes objects that the user
// declared no leak, and its "black" is an object that is neither reported nor scanned. Those are user policy here and
// are kept apart from the colours (state bits kNotLeak and kIgnored in alloc/layout.h).
//
// Threads: a mark byte is written only by the lane that owns its page (exchange.h), white -> grey -> black within one
// epoch; it is atomic because the allocator's audits may read it meanwhile. Relaxed everywhere: no other data is
// published through a mark, and pages change their owner only between two rounds of the helpers, which synchronize.
#pragma once

#include <cstdint>

namespace arenascan::scan {

class Epoch {
 public:
  static constexpr int kCount = 127;

  constexpr Epoch() = default;

  [[nodiscard]] constexpr std::uint8_t grey() const noexcept { return static_cast<std::uint8_t>(2 * value_); }
  [[nodiscard]] constexpr std::uint8_t black() const noexcept { return static_cast<std::uint8_t>(2 * value_ + 1); }
  [[nodiscard]] constexpr bool is_white(std::uint8_t mark) const noexcept { return mark >> 1 != value_; }

  // Moves on. True when the epochs have wrapped: every mark has to be cleared before the next object is marked.
  constexpr bool advance() noexcept {
    value_ = value_ == kCount ? 1 : static_cast<std::uint8_t>(value_ + 1);
    return value_ == 1;
  }

 private:
  std::uint8_t value_ = 0;
};

}  // namespace arenascan::scan
