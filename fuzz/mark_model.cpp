#include "fuzz/mark_model.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>

#include "fuzz/require.h"

namespace arenascan::fuzz {
namespace {

constexpr std::uintptr_t kOsPage = 4096;
constexpr std::size_t kWordBytes = sizeof(std::uintptr_t);
constexpr std::size_t kEmptyArrayBytes = sizeof(std::size_t);
constexpr std::size_t kReserveBytes = std::size_t{256} << 20;
constexpr std::size_t kMostBytes = std::size_t{4} << 20;  // of all objects
constexpr std::size_t kMostObjects = 400;                 // the verifier looks at each for each word
constexpr std::size_t kMostGap = 64;                      // between two objects of an array

scan::PointerForms some_forms(Choices& choices) {
  scan::PointerForms forms;
  forms.unaligned = choices.one_in(2);
  forms.past_end = choices.one_in(2);
  forms.tag_bits = static_cast<unsigned>(choices.below(scan::PointerForms::kMostTagBits + 1));
  return forms;
}

bool is_in(const auto& object, std::uintptr_t word) {
  return word - object.address < std::max<std::size_t>(object.bytes, 1);
}

// Calls visit(address, word) for each that is not 0. Most are: memcmp() passes over them faster than instrumented code.
template <typename Visit>
void for_each_set_word(std::uintptr_t begin, std::size_t bytes, std::size_t step, Visit&& visit) {
  constexpr std::size_t kPiece = 1024;
  const std::uintptr_t end = begin + bytes;
  for (std::uintptr_t piece = begin; piece < end; piece += kPiece) {
    const auto* const first = reinterpret_cast<const char*>(piece);
    const std::size_t length = std::min(end - piece, kPiece + kWordBytes - 1);
    if (*first == 0 && std::memcmp(first, first + 1, length - 1) == 0) continue;
    for (std::uintptr_t at = piece; at < piece + kPiece && at + kWordBytes <= end; at += step) {
      std::uintptr_t word = 0;
      std::memcpy(&word, reinterpret_cast<const void*>(at), sizeof(word));
      if (word != 0) visit(at, word);
    }
  }
}

}  // namespace

MarkModel::MarkModel() : view_(heap_), marker_(view_) {
  require(heap_.init(kReserveBytes));
  require((cache_ = heap_.acquire_cache()) != nullptr);
}

MarkModel::~MarkModel() {
  marker_.dismiss_helpers();
  heap_.destroy();
}

void MarkModel::mark_stopped(Choices& choices) {
  set_forms(choices.below(4) == 3 ? some_forms(choices) : scan::PointerForms{});
  mutate(choices, 20);
  begin();
  mark_roots();
  marker_.drain();
  const std::vector<bool> expected = reached();
  scan::Count count;
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    require(is_black(objects_[i]) == expected[i]);
    if (!expected[i]) continue;
    ++count.objects;
    count.bytes += objects_[i].bytes;
  }
  require(marker_.reached().objects == count.objects && marker_.reached().bytes == count.bytes);
  set_forms({});
}

void MarkModel::set_forms(const scan::PointerForms& forms) {
  forms_ = forms;
  marker_.set_forms(forms);
}

void MarkModel::mark_beside(Choices& choices) {
  mutate(choices, 20);
  const std::vector<bool> before = reached();
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    if (!before[i]) lost_.insert(objects_[i].address);
  }
  view_.keep_descriptors_locked(true);
  begin();
  mark_roots();
  drain_beside(choices);
  protect_and_reread(choices);
  mutate(choices, choices.below(6));
  drain_beside(choices);
  for (std::uint64_t round = choices.below(5); round > 0; --round) {
    reread_written(choices);
    drain_beside(choices);
  }
  mutate(choices, choices.below(6));
  {
    const std::scoped_lock heap(view_);
    require(marker_.knows_all_locked());
  }
  mark_roots();
  reread_written(choices);
  marker_.drain();
  const std::vector<bool> after = reached();
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    if (after[i]) require(is_black(objects_[i]));
    if (is_lost(i)) require(!is_black(objects_[i]));
  }
  lost_.clear();
  view_.keep_descriptors_locked(false);
  require(heap_.is_valid());
}

void MarkModel::let_epochs_pass() {
  for (int i = 1; i < scan::Epoch::kCount; ++i) begin();
}

void MarkModel::begin() {
  const std::scoped_lock heap(view_);
  require(marker_.begin_locked());
}

void MarkModel::mark_roots() {
  const auto first = reinterpret_cast<std::uintptr_t>(roots_.data());
  marker_.mark_range({first, first + sizeof(roots_)});
  marker_.mark_annotated(marker_.page_end());
}

// A step of the marker, a step of the program, until the marker has nothing left.
void MarkModel::drain_beside(Choices& choices) {
  while (choices.one_in(2) ? marker_.step() : !marker_.drain_until(0)) mutate(choices, choices.below(3));
}

// Piece by piece, of any size, while the program goes on. Pages of pieces to come are not protected yet: what is
// written there is not listed.
void MarkModel::protect_and_reread(Choices& choices) {
  view_.lock();
  const auto in_use = view_.in_use_locked();
  view_.unlock();
  const std::uintptr_t end = in_use.begin + in_use.bytes;
  for (std::uintptr_t at = in_use.begin; at < end;) {
    const std::uintptr_t next = std::min(end, at + (1 + choices.below(8)) * alloc::kPageBytes);
    written_.erase(written_.lower_bound(at), written_.lower_bound(next));
    marker_.reread_all({at, next});
    mutate(choices, choices.below(3));
    at = next;
  }
}

void MarkModel::reread_written(Choices& choices) {
  const auto time = choices.one_in(2) ? scan::Marker::Time::kShort : scan::Marker::Time::kToSpare;
  for (const std::uintptr_t page : std::exchange(written_, {})) marker_.reread({page, page + kOsPage}, time);
}

bool MarkModel::is_black(const Live& live) const {
  alloc::Object object;
  require(view_.find(live.address, object));
  return object.mark().load() == marker_.epoch().black();
}

// What was lost before the mark is nobody's any more: a program cannot find it, so it cannot free or hold it.
void MarkModel::mutate(Choices& choices, std::uint64_t steps) {
  for (; steps > 0; --steps) {
    const std::uint64_t how = choices.below(32);
    const std::uint64_t what = how % 16;
    const bool other_way = how >= 16;
    const std::size_t i = objects_.empty() ? 0 : choices.below(objects_.size());
    if (objects_.size() < 5 || what < 5) {
      if (other_way && what == 0) {
        allocate_many(choices);
      } else if (other_way && what < 3) {
        allocate(bytes_gone_);
      } else {
        allocate_one(choices);
      }
    } else if (what < 8) {
      roots_[choices.below(roots_.size())] = choices.one_in(3) ? 0 : pointer(choices);
    } else if (is_lost(i)) {
      continue;
    } else if (what == 8) {
      release({i}, other_way ? Pointers::kStay : Pointers::kGo);
    } else if (what == 9 && other_way) {
      release_page(i);
    } else if (what == 9) {
      release({i}, Pointers::kStay);
      allocate(bytes_gone_);
    } else if (what == 10) {
      constexpr std::uint8_t kPolicies[] = {alloc::state::kNoScan, alloc::state::kNotLeak, alloc::state::kIgnored};
      annotate(objects_[i], kPolicies[choices.below(std::size(kPolicies))]);
    } else if (objects_[i].bytes >= kWordBytes) {
      const std::size_t step = forms_.unaligned ? 1 : kWordBytes;
      const std::size_t places = (objects_[i].bytes - kWordBytes) / step + 1;
      const std::uint64_t where = choices.below(6);
      const std::size_t place = where % 3 == 0 ? places - 1 : choices.below(places);
      std::uintptr_t at = objects_[i].address + place * step;
      if (where == 1) at = std::max(objects_[i].address, at & ~(kOsPage - 1));
      store(at, choices.one_in(4) ? 0 : pointer(choices));
    }
  }
}

void MarkModel::allocate_one(Choices& choices) {
  const std::uint64_t kind = choices.below(16);
  const std::size_t bytes = kind < 10   ? choices.below(120)
                            : kind < 14 ? choices.below(3000)
                            : kind < 15 ? choices.below(60'000)
                                        : 100'000 + choices.below(100'000);
  const std::uintptr_t address = allocate(bytes);
  if (address != 0 && choices.one_in(2)) roots_[choices.below(roots_.size())] = address;
}

// An array of pointers and what they point to, of one size: several groups of a page (grey_pages.h) turn grey at once.
// They are many where few lie in each, since others between them were freed.
void MarkModel::allocate_many(Choices& choices) {
  const std::size_t count = 1 + choices.below(200);
  const std::size_t bytes = choices.below(300);
  const std::size_t gap = choices.one_in(2) ? 0 : choices.below(kMostGap);
  const std::uintptr_t array = allocate(count * kWordBytes);
  if (array == 0) return;
  roots_[choices.below(roots_.size())] = array;
  std::vector<void*> between;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uintptr_t address = allocate(bytes);
    if (address == 0) break;
    store(array + i * kWordBytes, address);
    for (std::size_t k = 0; k < gap; ++k) require(between.emplace_back(heap_.allocate(*cache_, bytes, {})) != nullptr);
  }
  for (void* const gone : between) heap_.release(*cache_, gone);
}

// 0: there are enough.
std::uintptr_t MarkModel::allocate(std::size_t bytes) {
  if (bytes_ + bytes > kMostBytes || objects_.size() == kMostObjects) return 0;
  bytes_ += bytes;
  void* const p = heap_.allocate(*cache_, bytes, heap_.birth(0));
  require(p != nullptr);
  std::memset(p, 0, bytes);
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  for (std::uintptr_t page = address & ~(kOsPage - 1); page < address + bytes; page += kOsPage) written_.insert(page);
  objects_.push_back({address, bytes, 0});
  store_again(objects_.back());
  return address;
}

// An old pointer that stayed would point to what has come to lie there, which to the verifier is as good as any; but no
// program can have come by it, and a mark need not see it. So the program stores the new pointer where the old one was,
// the same word; one to the end of what may become an empty array goes, as in pointer().
void MarkModel::store_again(const Live& born) {
  std::erase_if(stale_, [&](std::uintptr_t at) {
    std::uintptr_t word = 0;
    std::memcpy(&word, reinterpret_cast<const void*>(at), sizeof(word));
    if (word - born.address > born.bytes) return false;
    store(at, is_in(born, word) ? word : 0);
    return true;
  });
}

// The pointers to them, too, all of which the program knows: roots go; those in objects go, or stay while the program
// writes something beside them.
void MarkModel::release(std::vector<std::size_t> numbers, Pointers pointers) {
  std::sort(numbers.begin(), numbers.end(), std::greater<>());
  std::vector<Live> gone;
  for (const std::size_t i : numbers) {
    gone.push_back(objects_[i]);
    objects_.erase(objects_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  const auto points_there = [&](std::uintptr_t word) {
    return std::any_of(gone.begin(), gone.end(), [word](const Live& one) { return is_in(one, word); });
  };
  for (std::uintptr_t& root : roots_) {
    if (points_there(root)) root = 0;
  }
  std::erase_if(stale_, points_there);
  for (const Live& live : objects_) {
    for_each_set_word(live.address, live.bytes, kWordBytes, [&](std::uintptr_t at, std::uintptr_t word) {
      if (!points_there(word)) return;
      if (pointers == Pointers::kStay) {
        stale_.push_back(at);
        written_.insert(at & ~(kOsPage - 1));
      } else {
        store(at, 0);
      }
    });
  }
  for (const Live& one : gone) {
    bytes_ -= one.bytes;
    bytes_gone_ = one.bytes;
    heap_.release(*cache_, reinterpret_cast<void*>(one.address));
  }
}

// All that lie on a page with the object. Then the thread ends, so the page is given back.
void MarkModel::release_page(std::size_t object) {
  const std::uintptr_t page = objects_[object].address / alloc::kPageBytes;
  std::vector<std::size_t> there;
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    if (objects_[i].address / alloc::kPageBytes == page && !is_lost(i)) there.push_back(i);
  }
  release(std::move(there), Pointers::kStay);
  heap_.release_cache(*cache_);
  require((cache_ = heap_.acquire_cache()) != nullptr);
}

void MarkModel::store(std::uintptr_t at, std::uintptr_t value) {
  std::memcpy(reinterpret_cast<void*>(at), &value, sizeof(value));
  written_.insert(at & ~(kOsPage - 1));
}

void MarkModel::annotate(Live& live, std::uint8_t policy) {
  alloc::Object object;
  require(view_.find(live.address, object));
  require(view_.add_policy(object, policy));
  live.policy |= policy;
}

// A pointer that the program may come by: to any object that was not lost, in any form that is looked for. To the end
// of what may become an empty array there is none: it would be one for some time only.
std::uintptr_t MarkModel::pointer(Choices& choices) {
  for (int tries = 0; tries < 8; ++tries) {
    const std::size_t i = choices.below(objects_.size());
    if (is_lost(i)) continue;
    const Live& to = objects_[i];
    std::uintptr_t word = to.address + (to.bytes < 2 || choices.one_in(2) ? 0 : choices.below(to.bytes));
    if (forms_.past_end && to.bytes != kEmptyArrayBytes && choices.one_in(2)) word = to.address + to.bytes;
    if (forms_.tag_bits != 0) word |= choices.below(std::uint64_t{1} << forms_.tag_bits) << (64 - forms_.tag_bits);
    return word;
  }
  return 0;
}

bool MarkModel::is_read(std::uint8_t policy) {
  return (policy & (alloc::state::kNoScan | alloc::state::kIgnored)) == 0;
}

bool MarkModel::is_root(std::uint8_t policy) {
  return (policy & (alloc::state::kNotLeak | alloc::state::kIgnored)) != 0;
}

// The object whose bytes a word points to, by looking at each; or to the end of them, where they are the length of an
// empty array (`new T[0]`).
std::size_t MarkModel::find(std::uintptr_t word) const {
  const auto found = std::find_if(objects_.begin(), objects_.end(), [word](const Live& live) {
    const bool is_empty_array =
        live.bytes == kEmptyArrayBytes && *reinterpret_cast<const std::uint64_t*>(live.address) == 0;
    return word - live.address < std::max<std::size_t>(live.bytes, 1) + is_empty_array;
  });
  return static_cast<std::size_t>(found - objects_.begin());
}

std::vector<bool> MarkModel::reached() const {
  std::vector<bool> reached(objects_.size(), false);
  std::vector<std::size_t> from;
  const auto add = [&](std::size_t i) {
    if (i == objects_.size() || reached[i]) return;
    reached[i] = true;
    from.push_back(i);
  };
  const auto read = [&](std::uintptr_t begin, std::size_t bytes) {
    for_each_set_word(begin, bytes, forms_.unaligned ? 1 : kWordBytes, [&](std::uintptr_t, std::uintptr_t word) {
      word = word << forms_.tag_bits >> forms_.tag_bits;
      add(find(word));
      if (forms_.past_end) add(find(word - 1));
    });
  };
  read(reinterpret_cast<std::uintptr_t>(roots_.data()), sizeof(roots_));
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    if (is_root(objects_[i].policy)) add(i);
  }
  while (!from.empty()) {
    const Live live = objects_[from.back()];
    from.pop_back();
    if (is_read(live.policy)) read(live.address, live.bytes);
  }
  return reached;
}

}  // namespace arenascan::fuzz
