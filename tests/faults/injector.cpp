// fault_injector STORY [SECONDS | PLAN]: has system calls of a story (story.h) fail, and looks how it ends.
//
// A first run, in which all calls succeed, counts them. Then, for each kind of call, some of them fail, one a run,
// spread evenly; each call from some of them on; and calls at random, from seeds. With SECONDS: all calls, each with
// all of the errors of its kind, then seeds, for so long. With PLAN (plan.h): one run, of which everything is told.
//
// The story "replay" is told by a trace: `arenascan replay` plays it, and finds in each scan what the trace says.
//
// A story ends well when it has found everything right (0); or when the loader could not start it and says so: the
// allocator has told it that there is no memory. A crash, a hang, anything found wrong, and an end without a word are
// failures, and are told with the plan that brings them back.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "tests/faults/found.h"
#include "tests/faults/supervisor.h"

using namespace arenascan::test;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kRunLimit{30};
// No questions but those of long ago: mappings are read as text, pages one by one, writes are not watched.
constexpr std::string_view kOlderKernel = "ioctl:1+:25";
constexpr unsigned kShortSeeds = 6;
constexpr int kLoaderFailed = 127;
constexpr int kCannotStart = 125;
constexpr int kLeaked = 23;
constexpr int kAborted = 128 + SIGABRT;
constexpr std::string_view kNoOptions = "ARENASCAN_OPTIONS are not heeded";

std::string describe(const Run& run) {
  if (!run.was_supervised) return "not supervised";
  if (run.timed_out) return "did not end";
  if (WIFSIGNALED(run.status)) return std::string("killed by ") + strsignal(WTERMSIG(run.status));
  return "status " + std::to_string(WEXITSTATUS(run.status));
}

bool says(const Run& run, std::string_view text) { return run.output.find(text) != std::string::npos; }

// The report at exit tells what the story said last.
bool reports_what_was_lost(const Run& run) {
  constexpr std::string_view kSaid = "lost: ";
  const std::size_t at = run.output.find(kSaid);
  if (at == std::string::npos) return false;
  const std::size_t begin = at + kSaid.size();
  return says(run, "SUMMARY: LeakSanitizer: " + run.output.substr(begin, run.output.find('\n', begin) - begin));
}

// Each scan of replayed.txt, and that at the end, finds what is lost then, or is incomplete and claims nothing. Where
// memory was refused, the trace is another.
bool finds_what_trace_loses(const Run& run) {
  constexpr std::string_view kLost[] = {"; 1 leaked in 64 bytes", "; 0 leaked in 0 bytes", "; 3 leaked in 144 bytes",
                                        "; 2 leaked in 96 bytes", "; 2 leaked in 96 bytes"};
  if (says(run, "records were left out")) return true;
  std::istringstream output(run.output);
  std::size_t scans = 0;
  for (std::string line; std::getline(output, line);) {
    if (line.find(" leaked in ") == std::string::npos) continue;
    const bool claims_nothing =
        line.find("; 0 leaked in 0 bytes; incomplete") != std::string::npos && scans < std::size(kLost);
    if (!claims_nothing && (scans >= std::size(kLost) || line.find(kLost[scans]) == std::string::npos)) return false;
    ++scans;
  }
  return scans == std::size(kLost);
}

bool is_well_replayed(const Run& run) {
  const int status = WEXITSTATUS(run.status);
  // Of a C++ program that has not even the memory for an exception.
  if (status == kAborted) return says(run, "terminate called without an active exception");
  return status == 0 && finds_what_trace_loses(run);
}

bool has_ended(const Run& run) { return run.was_supervised && !run.timed_out && WIFEXITED(run.status); }

bool is_well(const Run& run, bool scans_at_exit) {
  if (!has_ended(run)) return false;
  const int status = WEXITSTATUS(run.status);
  if (status == kLoaderFailed) return says(run, "memory");
  if (status == kCannotStart) return says(run, "arenascan: ");
  if (says(run, kNoOptions) && (status == 0 || status == kLeaked)) return true;  // of a scan at exit
  if (!scans_at_exit) return status == 0;
  if (status == kLeaked) return reports_what_was_lost(run);
  return status == 0 && (says(run, "scan incomplete, nothing is claimed: ") || says(run, "lost: 0 "));
}

class Campaign {
 public:
  explicit Campaign(std::string story) : story_(std::move(story)) {}

  Run run(const Plan& plan) const {
    const bool is_whole = plan.text() == "none";
    setenv("ARENASCAN_OPTIONS",
           (std::string("symbolize=0:at_exit=") + (scans_at_exit_ ? "1" : "0") +
            (is_whole ? ":stop_timeout_ms=10000" : ":stop_timeout_ms=200") +
            (story_ == "control" ? ":control=1:min_age_s=0" : ""))
               .c_str(),
           1);
    const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    std::vector<std::string> command = {(here / "fault_victim").string(), story_};
    if (replays_) command = {(here.parent_path() / "arenascan").string(), "replay", ARENA_REPLAYED};
    if (is_whole && !replays_) command.emplace_back("whole");
    return run_supervised(command, plan, kRunLimit);
  }

  [[nodiscard]] bool is_well(const Run& run) const {
    const bool is_played = replays_ && has_ended(run) && (run.status == 0 || WEXITSTATUS(run.status) == kAborted);
    return is_played ? is_well_replayed(run) : ::is_well(run, scans_at_exit_);
  }

  // Tells of a run that went wrong.
  void attempt(const Plan& plan) {
    const Run run = this->run(plan);
    ++runs_;
    for (const FailedCall& call : run.failed) ++failed_[call.kind];
    if (is_well(run)) return;
    ++wrong_;
    std::printf("WRONG: fault_injector %s %s: %s\n%s", story_.c_str(), plan.text().c_str(), describe(run).c_str(),
                run.output.c_str());
    std::fflush(stdout);
  }

  // Counts the calls. False: the story does not go well where nothing fails but what an older kernel does not know.
  bool count() {
    for (Surroundings& around : surroundings_) {
      const Run run = this->run(around.plan);
      around.calls = run.calls;
      if (is_well(run) && WEXITSTATUS(run.status) == (scans_at_exit_ ? kLeaked : 0)) continue;
      std::printf("WRONG: fault_injector %s %s: %s\n%s\n", story_.c_str(), around.plan.text().c_str(),
                  describe(run).c_str(), run.output.c_str());
      return false;
    }
    return true;
  }

  // What was found once; at most so many places of each kind's calls, one error each, in turn.
  void go_short() {
    for (const Found& found : kFound) {
      if (found.story == story_) attempt(Plan::parse(found.plan).value());
    }
    for (const Surroundings& around : surroundings_) {
      for (std::size_t kind = 0; kind < kCallKindCount; ++kind) {
        const std::size_t places = std::min<std::size_t>(around.calls[kind], around.short_places);
        for (std::size_t place = 0; place < places; ++place) {
          const auto nth = static_cast<unsigned>(1 + place * around.calls[kind] / places);
          const bool lasting = place % 2 == 1;
          const int count = lasting ? kCallKinds[kind].lasting : error_count(kCallKinds[kind]);
          const int error = kCallKinds[kind].errors[place / 2 % static_cast<std::size_t>(count)];
          attempt(around.plan.and_also(Plan(kind, nth, lasting, error)));
        }
      }
    }
    for (unsigned seed = 1; seed <= kShortSeeds; ++seed) attempt(Plan(seed % 3 == 0 ? 100 : 10 * (seed % 3), seed));
  }

  // Each call and error once, in an order that spreads over all of them; then random ones.
  void go_long(Clock::time_point until) {
    std::vector<Plan> plans;
    for (const Surroundings& around : surroundings_) {
      for (std::size_t kind = 0; kind < kCallKindCount; ++kind) {
        for (unsigned nth = 1; nth <= around.calls[kind]; ++nth) {
          for (int i = 0; i < error_count(kCallKinds[kind]); ++i) {
            const int error = kCallKinds[kind].errors[static_cast<std::size_t>(i)];
            plans.push_back(around.plan.and_also(Plan(kind, nth, false, error)));
            if (i < kCallKinds[kind].lasting) plans.push_back(around.plan.and_also(Plan(kind, nth, true, error)));
          }
        }
      }
    }
    std::shuffle(plans.begin(), plans.end(), std::minstd_rand(1));
    for (const Plan& plan : plans) {
      if (Clock::now() >= until) break;
      attempt(plan);
    }
    for (unsigned seed = 1; Clock::now() < until; ++seed) attempt(Plan(2U << seed % 8, seed));
  }

  int finish() const {
    std::printf("%s: calls of each kind (how many were made to fail):", story_.c_str());
    for (std::size_t kind = 0; kind < kCallKindCount; ++kind) {
      const unsigned calls = surroundings_[0].calls[kind];
      if (calls + failed_[kind] != 0) std::printf(" %s %u (%u)", kCallKinds[kind].name, calls, failed_[kind]);
    }
    std::printf("; %u runs, %u wrong\n", runs_, wrong_);
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  // What every run of a sort has in common, and how often each kind of call is made then.
  struct Surroundings {
    Plan plan;
    std::size_t short_places;  // of a kind's calls, in the short form
    std::array<unsigned, kCallKindCount> calls{};
  };

  std::string story_;
  bool replays_ = story_ == "replay";
  bool scans_at_exit_ = story_ == "ending";
  std::array<Surroundings, 2> surroundings_{{{Plan(), 4, {}}, {Plan::parse(kOlderKernel).value(), 2, {}}}};
  std::array<unsigned, kCallKindCount> failed_{};
  unsigned runs_ = 0;
  unsigned wrong_ = 0;
};

int run_once(const Campaign& campaign, const Plan& plan) {
  const Run run = campaign.run(plan);
  std::printf("%s%s\n", run.output.c_str(), describe(run).c_str());
  for (const FailedCall& call : run.failed) {
    std::printf("failed: %s, the %uth: %s\n", kCallKinds[call.kind].name, call.nth, std::strerror(call.error));
  }
  return campaign.is_well(run) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: fault_injector STORY [SECONDS | PLAN]\n");
    return 2;
  }
  Campaign campaign(argv[1]);
  if (argc == 3 && std::strspn(argv[2], "0123456789") != std::strlen(argv[2])) {
    if (const std::optional<Plan> plan = Plan::parse(argv[2])) return run_once(campaign, *plan);
    std::fprintf(stderr, "fault_injector: no plan: %s; KIND:N:ERROR, KIND:N+:ERROR, any:PERMILLE:SEED or none\n",
                 argv[2]);
    return 2;
  }
  if (!campaign.count()) return 1;
  if (argc == 3) {
    campaign.go_long(Clock::now() + std::chrono::seconds(std::strtoul(argv[2], nullptr, 10)));
  } else {
    campaign.go_short();
  }
  return campaign.finish();
}
