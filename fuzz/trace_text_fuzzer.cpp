// Bytes as a file with a trace, in any of the forms that can be read: what is read can be written and read again in
// both of ours, and what cannot is said in one printable line.
#include <algorithm>
#include <sstream>

#include "api/trace/file.h"
#include "fuzz/require.h"

using namespace arenascan;
using fuzz::require;

namespace {

trace::Trace read(const std::string& bytes) {
  std::istringstream in(bytes);
  return trace::read_trace(in, "input");
}

template <typename Write>
void check_round_trip(const trace::Trace& trace, Write&& write) {
  std::ostringstream out;
  write(out, trace);
  require(read(out.str()) == trace);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const trace::Trace trace = read({reinterpret_cast<const char*>(data), size});
    check_round_trip(trace, trace::write_text);
    check_round_trip(trace, trace::write_binary);
  } catch (const trace::BadTrace& problem) {
    const std::string line = problem.what();
    require(line.starts_with("input:"));
    require(std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; }));
  }
  return 0;
}
