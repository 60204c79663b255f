#include "tests/faults/plan.h"

#include <charconv>

namespace arenascan::test {
namespace {

// What comes before the next separator, which is taken off; all the rest when there is none.
std::string_view take_field(std::string_view& text, char separator = ':') {
  const std::string_view field = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(text.size(), field.size() + 1));
  return field;
}

std::optional<unsigned> to_number(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::optional<Plan> Plan::parse(std::string_view text) {
  if (text == "none") return Plan();
  if (text.find(',') != std::string_view::npos) {
    Plan all;
    while (!text.empty()) {
      const std::optional<Plan> rule = parse(take_field(text, ','));
      if (!rule || rule->rules_.empty()) return std::nullopt;
      all = all.and_also(*rule);
    }
    return all;
  }
  const std::string_view name = take_field(text);
  std::string_view nth = take_field(text);
  const bool lasting = nth.ends_with('+');
  if (lasting) nth.remove_suffix(1);
  const std::optional<unsigned> first = to_number(nth);
  const std::optional<unsigned> second = to_number(text);
  if (!first || !second) return std::nullopt;
  if (name == "any") return Plan(*first, *second);
  std::size_t kind = 0;
  while (kind < kCallKindCount && name != kCallKinds[kind].name) ++kind;
  if (kind == kCallKindCount) return std::nullopt;
  return Plan(kind, *first, lasting, static_cast<int>(*second));
}

std::string Plan::text() const {
  if (permille_ != 0) return "any:" + std::to_string(permille_) + ":" + std::to_string(seed_);
  if (rules_.empty()) return "none";
  std::string text;
  for (const Rule& rule : rules_) {
    if (!text.empty()) text += ',';
    text += std::string(kCallKinds[rule.kind].name) + ":" + std::to_string(rule.nth) + (rule.lasting ? "+:" : ":") +
            std::to_string(rule.error);
  }
  return text;
}

Plan Plan::and_also(const Plan& other) const {
  Plan all = *this;
  all.rules_.insert(all.rules_.end(), other.rules_.begin(), other.rules_.end());
  return all;
}

int Plan::decide(std::size_t kind, unsigned nth) {
  if (permille_ != 0) {
    const auto chosen = static_cast<std::size_t>(random_()) % static_cast<std::size_t>(error_count(kCallKinds[kind]));
    return random_() % 1000 < permille_ ? kCallKinds[kind].errors[chosen] : 0;
  }
  for (const Rule& rule : rules_) {
    if (kind == rule.kind && (rule.lasting ? nth >= rule.nth : nth == rule.nth)) return rule.error;
  }
  return 0;
}

}  // namespace arenascan::test
