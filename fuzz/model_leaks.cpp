#include <algorithm>
#include <tuple>

#include "fuzz/model.h"
#include "fuzz/require.h"

namespace arenascan::fuzz {

// `at_rest` is what nothing leads to but what is in it; `leaks`, a part of that, is what has to be told.
void Model::check_leaks(const scan::Verdict& verdict, const Set& at_rest, const Set& leaks) const {
  Set told;
  Set direct;
  Groups groups;
  std::uintptr_t last = 0;
  for (const scan::LeakedObject& leak : verdict.objects) {
    const std::size_t number = find(leak.address);
    require(leak.address > last && number != kObjects);
    last = leak.address;
    const Object& object = objects_[number];
    require(leak.address == object.address && leak.bytes == object.bytes && leak.stack == object.stack);
    told.set(number);
    direct[number] = leak.direct;
    add_to(groups, object, leak.direct);
  }
  require(told == leaks);
  const scan::Count heads = count(direct);
  const scan::Count rest = count(leaks & ~direct);
  require(verdict.direct.objects == heads.objects && verdict.direct.bytes == heads.bytes);
  require(verdict.indirect.objects == rest.objects && verdict.indirect.bytes == rest.bytes);
  check_direct(at_rest, leaks, direct);
  check_groups(verdict.leaks, groups);
}

// Of objects that lead to each other, and to which no other leads, one is direct; it may be one that is not told.
void Model::check_direct(const Set& at_rest, const Set& leaks, const Set& direct) const {
  std::array<Set, kObjects> leads_to;
  for (std::size_t from = 0; from < kObjects; ++from) {
    if (!at_rest[from]) continue;
    leads_to[from] = ~at_rest;
    spread(Set().set(from), leads_to[from]);
    leads_to[from] &= at_rest;
  }
  for (std::size_t to = 0; to < kObjects; ++to) {
    if (!leaks[to]) continue;
    Set cycle;
    bool is_led_to = false;
    for (std::size_t from = 0; from < kObjects; ++from) {
      if (!leads_to[from][to]) continue;
      cycle[from] = leads_to[to][from];
      is_led_to = is_led_to || !leads_to[to][from];
    }
    const std::size_t heads = (cycle & direct).count();
    require(is_led_to ? heads == 0 : heads <= 1);
    require(is_led_to || heads == 1 || (cycle & ~leaks).any());
  }
}

void Model::add_to(Groups& groups, const Object& object, bool direct) const {
  scan::Count& count = groups[{!direct, object.stack}];
  ++count.objects;
  count.bytes += object.bytes;
}

void Model::check_groups(const alloc::MetaVector<scan::Group>& told, const Groups& expected) const {
  require(told.size() == expected.size());
  for (std::size_t i = 0; i < told.size(); ++i) {
    const scan::Group& group = told[i];
    const auto right = expected.find({!group.direct, group.stack});
    require(right != expected.end());
    require(group.objects == right->second.objects && group.bytes == right->second.bytes);
    const std::size_t example = find(group.example);
    require(example != kObjects && objects_[example].stack == group.stack);
    const auto place = [](const scan::Group& of) { return std::tuple(!of.direct, ~of.bytes, of.stack); };
    require(i == 0 || place(told[i - 1]) < place(group));
  }
}

}  // namespace arenascan::fuzz
