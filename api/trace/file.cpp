#include "api/trace/file.h"

#include <algorithm>
#include <array>
#include <istream>
#include <ostream>

#include "api/trace/foreign.h"
#include "api/trace/recording.h"
#include "api/trace/text.h"

namespace arenascan::trace {
namespace {

std::array<char, kHeaderBytes> make_header() {
  std::array<char, kHeaderBytes> header{};
  std::copy(kMagic.begin(), kMagic.end(), header.begin());
  header[8] = static_cast<char>(kVersion);
  header[12] = static_cast<char>(kRecordBytes);
  return header;
}

Trace read_binary(std::istream& in, const std::string& name) {
  std::array<char, kHeaderBytes> header{};
  in.read(header.data(), header.size());
  if (in.gcount() != kHeaderBytes || header != make_header()) {
    throw BadTrace(name + ": not version 1 of the format, whose records have 20 bytes");
  }
  Trace trace;
  RecordBytes bytes;
  while (in.read(reinterpret_cast<char*>(bytes.data()), bytes.size())) {
    const std::optional<Record> record = decode(bytes);
    if (!record) {
      throw BadTrace(name + ": record " + std::to_string(trace.size() + 1) + ": operation " +
                     std::to_string(bytes[18]) + " is unknown; they go from 0 to " + std::to_string(kOpCount - 1));
    }
    trace.push_back(*record);
  }
  if (in.gcount() != 0) {
    throw BadTrace(name + ": record " + std::to_string(trace.size() + 1) + " has only " + std::to_string(in.gcount()) +
                   " of 20 bytes; the file was cut");
  }
  return trace;
}

Trace read_text(LineReader& lines) {
  Trace trace;
  for (std::string text; lines.next(text);) {
    const Line line = parse_line(text);
    if (!line.complaint.empty()) lines.fail(line.complaint);
    if (line.record) trace.push_back(*line.record);
  }
  return trace;
}

}  // namespace

bool LineReader::next(std::string& line) {
  ++number_;
  return static_cast<bool>(std::getline(in_, line));
}

void LineReader::fail(const std::string& what) const {
  throw BadTrace(name_ + ":" + std::to_string(number_) + ": " + what);
}

Trace read_trace(std::istream& in, const std::string& name) {
  std::string beginning(256, '\0');
  in.read(beginning.data(), static_cast<std::streamsize>(beginning.size()));
  beginning.resize(static_cast<std::size_t>(in.gcount()));
  in.clear();
  in.seekg(0);
  if (!in) throw BadTrace(name + ": cannot be read from its beginning again; a file can, a pipe cannot");
  if (beginning.starts_with(kMagic)) return read_binary(in, name);
  if (beginning.starts_with(kRawMagic)) return read_recording(in, name);
  LineReader lines(in, name);
  if (beginning.starts_with(kTextHeader)) return read_text(lines);
  if (const ForeignReader read = foreign_reader(beginning)) return read(lines);
  throw BadTrace(name +
                 ": no trace that is known; it begins with \"arenatrc\", `# arenascan trace 1`, or as a trace of "
                 "memory_replay, malloclab, mtrace or heaptrack");
}

void write_binary(std::ostream& out, std::span<const Record> records) {
  const std::array<char, kHeaderBytes> header = make_header();
  out.write(header.data(), header.size());
  for (const Record& record : records) {
    const RecordBytes bytes = encode(record);
    out.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

void write_text(std::ostream& out, std::span<const Record> records) {
  out << kTextHeader << '\n';
  for (const Record& record : records) out << to_text(record) << '\n';
}

}  // namespace arenascan::trace
