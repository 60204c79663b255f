#include "scan/retainers.h"

#include <algorithm>

#include "scan/closed_memory.h"

namespace arenascan::scan {

using alloc::Object;
using alloc::Page;

namespace {

constexpr std::size_t kMostHolders = 8;

bool is_black(const Object& object, Epoch epoch) noexcept {
  return !epoch.is_white(object.mark().load(std::memory_order_relaxed));
}

bool contains(AddressRange range, std::uintptr_t address) noexcept {
  return address >= range.begin && address < range.end;
}

}  // namespace

bool RetainerSearch::run(std::uintptr_t word, int self, Retainers& found) noexcept {
  if (!heap_.find(word, target_)) return true;
  found.object = step_to(target_.address(), 0);
  const auto is_own = [self](const RootRange& root) {
    return root.thread == self && (root.kind == RootKind::kStack || root.kind == RootKind::kRegisters);
  };
  visit_roots([&](const RootRange& root) { return !is_own(root); });
  if (found_ == kNobody) visit_annotated();
  if (found_ == kNobody) {
    tell_holders(found);
    visit_roots(is_own);
    found.is_own = found_ != kNobody;
  }
  if (found_ != kNobody) tell_way(found);
  return fits_;
}

template <typename Wanted>
void RetainerSearch::visit_roots(Wanted&& wanted) noexcept {
  for (const RootRange& root : roots_) {
    if (wanted(root)) root.closed ? read_closed_root(root.range) : read(root.range, kNobody);
  }
  follow();
}

void RetainerSearch::visit_annotated() noexcept {
  heap_.for_each_page_locked([this](Page& page) {
    if (!page.annotated.load(std::memory_order_relaxed)) return;
    for (std::uint32_t i = 0; i < page.capacity; ++i) {
      const Object object{&page, i};
      const std::uint8_t state = object.state();
      if (!alloc::state::is_allocated(state)) continue;
      if ((state & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0) visit(object, 0, kNobody);
    }
  });
  follow();
}

void RetainerSearch::read(AddressRange range, std::size_t parent) noexcept {
  marker_.for_each_word(range.begin, range.end, [&](std::uintptr_t word, std::uintptr_t place) {
    Object object;
    if (heap_.find(word, object)) visit(object, place, parent);
  });
}

// What the kernel does not read has no way to tell.
void RetainerSearch::read_closed_root(AddressRange range) noexcept {
  static_cast<void>(for_each_closed_piece(range, [this](AddressRange piece, std::uintptr_t place) {
    marker_.for_each_word(piece.begin, piece.end, [&](std::uintptr_t word, std::uintptr_t copied) {
      Object object;
      if (heap_.find(word, object)) visit(object, place + (copied - piece.begin), kNobody);
    });
  }));
}

void RetainerSearch::visit(const Object& object, std::uintptr_t word, std::size_t parent) noexcept {
  if (is_black(object, marker_.epoch())) return;
  object.mark().store(marker_.epoch().black(), std::memory_order_relaxed);
  fits_ = fits_ && visits_.push_back({object.address(), word, parent});
  if (object == target_ && fits_) found_ = visits_.size() - 1;
}

void RetainerSearch::follow() noexcept {
  for (; next_ < visits_.size() && fits_ && found_ == kNobody; ++next_) {
    Object object;
    if (!heap_.find(visits_[next_].object, object) || !MarkLane::is_read(object)) continue;
    read({object.address(), object.address() + object.bytes()}, next_);
  }
}

Step RetainerSearch::step_to(std::uintptr_t pointer, std::uintptr_t word) const noexcept {
  Object object;
  if (!heap_.find(pointer, object)) return {};
  return {word, object.address(), object.bytes(), pointer - object.address(), object.birth().stack};
}

void RetainerSearch::tell_way(Retainers& found) noexcept {
  found.is_reached = true;
  for (std::size_t at = found_; at != kNobody; at = visits_[at].parent) {
    const std::uintptr_t word = visits_[at].word;
    std::uintptr_t pointer = visits_[at].object;
    const bool is_closed = std::any_of(roots_.begin(), roots_.end(), [word](const RootRange& root) {
      return root.closed && contains(root.range, word);
    });
    const std::uintptr_t end = word == 0 || is_closed ? word : word + sizeof(word);
    marker_.for_each_word(word, end, [&](std::uintptr_t candidate, std::uintptr_t) {
      Object object;
      if (heap_.find(candidate, object) && object.address() == visits_[at].object) pointer = candidate;
    });
    fits_ = found.way.push_back(step_to(pointer, word)) && fits_;
  }
  if (!fits_) return;
  std::reverse(found.way.begin(), found.way.end());
  const std::uintptr_t first = found.way[0].word;
  found.is_annotated = first == 0;
  for (const RootRange& root : roots_) {
    if (contains(root.range, first)) found.root = root;
  }
}

void RetainerSearch::tell_holders(Retainers& found) noexcept {
  const auto holds = [&](const Object& holder) {
    std::uintptr_t found_at = 0;
    marker_.for_each_word(holder.address(), holder.address() + holder.bytes(),
                          [&](std::uintptr_t word, std::uintptr_t place) {
                            Object object;
                            if (found_at == 0 && heap_.find(word, object) && object == target_) found_at = place;
                          });
    return found_at;
  };
  heap_.for_each_page_locked([&](Page& page) {
    for (std::uint32_t i = 0; i < page.capacity && found.holders.size() < kMostHolders; ++i) {
      const Object holder{&page, i};
      if (!alloc::state::is_allocated(holder.state()) || holder == target_ || is_black(holder, marker_.epoch()))
        continue;
      if (!MarkLane::is_read(holder)) continue;
      const std::uintptr_t word = holds(holder);
      if (word != 0) fits_ = found.holders.push_back(step_to(holder.address(), word)) && fits_;
    }
  });
}

}  // namespace arenascan::scan
