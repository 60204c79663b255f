// Which calls of a run fail, and with which error.
//
//   KIND:N:ERROR      the Nth call of the kind, counted from 1
//   KIND:N+:ERROR     each from the Nth on
//   any:PERMILLE:SEED each call of any kind with so many chances in a thousand
//   none              no call
//   RULE,RULE...      several of the first two; the first that has an error for a call counts
//
// ERROR is a number of <errno.h>; KIND a name of calls.h. The form is both what is printed with a finding and what runs
// it again.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/faults/calls.h"

namespace arenascan::test {

class Plan {
 public:
  Plan() = default;
  Plan(std::size_t kind, unsigned nth, bool lasting, int error) : rules_{{kind, nth, lasting, error}} {}
  Plan(unsigned permille, unsigned seed) : permille_(permille), seed_(seed), random_(seed) {}

  static std::optional<Plan> parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  // This one's rules, and the other's behind them.
  [[nodiscard]] Plan and_also(const Plan& other) const;

  // The error for the call of `kind` that is the `nth` of its kind; 0: it is let through. In the order of the calls.
  int decide(std::size_t kind, unsigned nth);

 private:
  struct Rule {
    std::size_t kind;
    unsigned nth;
    bool lasting;
    int error;
  };
  std::vector<Rule> rules_;
  unsigned permille_ = 0;
  unsigned seed_ = 0;
  std::minstd_rand random_;
};

}  // namespace arenascan::test
