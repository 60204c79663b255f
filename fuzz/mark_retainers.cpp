#include <algorithm>
#include <array>
#include <mutex>

#include "fuzz/mark_model.h"
#include "fuzz/require.h"

namespace arenascan::fuzz {
namespace {

constexpr std::size_t kMostTold = 8;  // of those that point to a lost object

std::uintptr_t word_at(std::uintptr_t at) { return *reinterpret_cast<const std::uintptr_t*>(at); }

}  // namespace

std::size_t MarkModel::find_word_at(std::uintptr_t at, const Live& holder) const {
  const bool is_there = at >= holder.address && at + sizeof(at) <= holder.address + holder.bytes;
  return is_there && at % sizeof(at) == 0 ? find(word_at(at)) : objects_.size();
}

bool MarkModel::points_to(const Live& holder, std::size_t object) const {
  for (std::uintptr_t at = holder.address; at + sizeof(at) <= holder.address + holder.bytes; at += sizeof(at)) {
    if (word_at(at) != 0 && find(word_at(at)) == object) return true;
  }
  return false;
}

// How many pointers lead from the roots to each object, at least; 0: none do.
std::vector<std::size_t> MarkModel::distances() const {
  std::vector<std::size_t> distances(objects_.size(), 0);
  std::vector<std::size_t> near;
  const auto add = [&](std::uintptr_t word, std::size_t distance) {
    const std::size_t i = find(word);
    if (i == objects_.size() || distances[i] != 0) return;
    distances[i] = distance;
    near.push_back(i);
  };
  for (const std::uintptr_t root : roots_) add(root, 1);
  for (std::size_t next = 0; next < near.size(); ++next) {
    const Live& from = objects_[near[next]];
    if (!is_read(from.policy)) continue;
    for (std::uintptr_t at = from.address; at + sizeof(at) <= from.address + from.bytes; at += sizeof(at)) {
      if (word_at(at) != 0) add(word_at(at), distances[near[next]] + 1);
    }
  }
  return distances;
}

void MarkModel::check_retainers(Choices& choices) {
  mutate(choices, 20);
  if (objects_.empty()) return;
  const std::size_t asked = choices.below(objects_.size());
  const auto first = reinterpret_cast<std::uintptr_t>(roots_.data());
  const std::array roots = {scan::RootRange{{first, first + sizeof(roots_)}, scan::RootKind::kUser}};
  begin();
  scan::Retainers found;
  {
    const std::scoped_lock heap(view_);
    require(scan::RetainerSearch(view_, marker_, roots).run(objects_[asked].address, 0, found));
  }
  const std::vector<std::size_t> distances = this->distances();
  require(found.object.address == objects_[asked].address && found.object.bytes == objects_[asked].bytes);
  require(found.is_reached == reached()[asked] && !found.is_own);
  if (found.is_reached) {
    require(found.is_annotated == (distances[asked] == 0));
    check_way(found, asked, distances[asked]);
  } else {
    check_holders(found, asked);
  }
}

void MarkModel::check_way(const scan::Retainers& found, std::size_t asked, std::size_t distance) const {
  const auto root = reinterpret_cast<std::uintptr_t>(roots_.data());
  require(!found.way.empty() && found.holders.empty() && find(found.way[found.way.size() - 1].address) == asked);
  require(found.is_annotated || found.way.size() == distance);
  for (std::size_t i = 0; i < found.way.size(); ++i) {
    const scan::Step& step = found.way[i];
    const std::size_t here = find(step.address);
    require(objects_[here].address == step.address && objects_[here].bytes == step.bytes);
    if (i == 0 && found.is_annotated) {
      require(is_root(objects_[here].policy) && step.word == 0 && step.offset == 0);
      continue;
    }
    const Live from = i == 0 ? Live{root, sizeof(roots_), 0} : objects_[find(found.way[i - 1].address)];
    require(is_read(from.policy) && find_word_at(step.word, from) == here);
    require(word_at(step.word) == step.address + step.offset);
  }
}

void MarkModel::check_holders(const scan::Retainers& found, std::size_t asked) const {
  const std::vector<bool> reached = this->reached();
  std::size_t holders = 0;
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    holders += i != asked && !reached[i] && is_read(objects_[i].policy) && points_to(objects_[i], asked) ? 1 : 0;
  }
  require(found.way.empty() && found.holders.size() == std::min(holders, kMostTold));
  for (const scan::Step& holder : found.holders) {
    const Live& from = objects_[find(holder.address)];
    require(from.address == holder.address && find_word_at(holder.word, from) == asked);
  }
}

}  // namespace arenascan::fuzz
