// Options: every key and value form, and one clear line for what is wrong.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "alloc/options.h"

using namespace arenascan;

namespace {

std::vector<std::string> g_complaints;

alloc::Options parse(std::string_view text) {
  g_complaints.clear();
  alloc::Options options;
  const std::size_t count =
      alloc::parse_options(text, "SOURCE", options, [](std::string_view line) { g_complaints.emplace_back(line); });
  CHECK(count == g_complaints.size());
  return options;
}

bool complains(std::string_view text, std::string_view words) {
  parse(text);
  return g_complaints.size() == 1 && g_complaints[0].find(words) != std::string::npos &&
         g_complaints[0].find('\n') == std::string::npos && g_complaints[0].starts_with("arenascan: SOURCE: ");
}

}  // namespace

TEST_CASE("values of every form, every separator, later ones win") {
  CHECK(parse("").at_exit);
  for (const char* no : {"at_exit=0", "at_exit=false", "at_exit=no", "at_exit=off"}) CHECK(!parse(no).at_exit);
  for (const char* yes : {"help=1", "help=true", "help=yes", "help=on"}) CHECK(parse(yes).help);
  CHECK(parse("exitcode=7").exitcode == 7);
  const alloc::Options all = parse("exitcode=1:exitcode=2,stacks=0 max_leaks=5\tuse_tls=0\nlog_path=/tmp/x");
  CHECK(all.exitcode == 2);
  CHECK(all.stacks == alloc::StackMode::kOff);
  CHECK(all.max_leaks == 5);
  CHECK(!all.use_tls);
  CHECK(all.log_path.view() == "/tmp/x");
  CHECK(parse("stacks=full").stacks == alloc::StackMode::kFull);
  CHECK(parse("stacks=fp").stacks == alloc::StackMode::kFramePointers);
  CHECK(parse("stacks=off").stacks == alloc::StackMode::kOff);
  CHECK(g_complaints.empty());
  CHECK(parse("log_path='a:b c'").log_path.view() == "a:b c");
  CHECK(parse("log_path=\"a,b\":exitcode=3").exitcode == 3);
  CHECK(parse("log_path=").log_path.view().empty());
  CHECK(g_complaints.empty());
}

TEST_CASE("what is wrong is named, with what would be right, and the default stays") {
  CHECK(complains("at\x07xit=0", "unknown option \"at\\x07xit\""));
  CHECK(complains("exitcode='1\n\x1b[2J\x7f'", "option exitcode is \"1\\x0a\\x1b[2J\\x7f\"; it takes a number"));
  CHECK(complains("at_exi=0", "unknown option \"at_exi\"; did you mean \"at_exit\"? valid: help at_exit"));
  CHECK(complains("=1", "unknown option \"\""));
  CHECK(complains("zzzzzzzzzzzz=1", "valid: help"));
  CHECK(g_complaints[0].find("did you mean") == std::string::npos);
  CHECK(complains("exitcode=256", "option exitcode is \"256\"; it takes a number from 0 to 255"));
  CHECK(complains("exitcode=-1", "takes a number"));
  CHECK(complains("exitcode=99999999999999999999", "takes a number"));
  CHECK(complains("exitcode=7x", "takes a number"));
  CHECK(complains("exitcode", "takes a number"));
  CHECK(complains("symbolize=2", "it takes 0, 1, true, false, yes, no, on or off"));
  CHECK(complains("stacks=3", "option stacks is \"3\"; it takes off, full, fp, or 0, 1, 2 for these"));
  CHECK(complains("stacks=", "it takes off, full, fp"));
  CHECK(complains("log_path=" + std::string(600, 'x'), "at most 511 bytes"));
  CHECK(parse("exitcode=300:stacks=0").exitcode == 23);
  CHECK(parse("exitcode=300:stacks=0").stacks == alloc::StackMode::kOff);
}
