// `arenascan trace2text` and `arenascan text2trace`.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>

#include "api/cli/commands.h"
#include "api/cli/launch.h"
#include "api/trace/file.h"

namespace arenascan::cli {
namespace {

void write(std::ostream& out, const trace::Trace& trace, TraceForm form) {
  if (form == TraceForm::kText) {
    trace::write_text(out, trace);
  } else {
    trace::write_binary(out, trace);
  }
  out.flush();
}

}  // namespace

int convert_trace(const std::string& from, const std::string& to, TraceForm form) {
  std::ifstream in(from, std::ios::binary);
  if (!in) return fail(1, "cannot read " + from + ": " + std::strerror(errno));
  trace::Trace trace;
  try {
    trace = trace::read_trace(in, from);
  } catch (const trace::BadTrace& problem) {
    return fail(1, problem.what());
  }
  if (to.empty()) {
    write(std::cout, trace, form);
    return std::cout ? 0 : fail(1, "cannot write to standard output");
  }
  std::ofstream out(to, std::ios::binary);
  if (!out) return fail(1, "cannot write " + to + ": " + std::strerror(errno));
  write(out, trace, form);
  return out ? 0 : fail(1, "cannot write all of " + to + ": " + std::strerror(errno));
}

}  // namespace arenascan::cli
