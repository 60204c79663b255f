#include "api/trace/recording.h"

#include <algorithm>
#include <cstring>
#include <istream>

#include "api/trace/builder.h"

namespace arenascan::trace {
namespace {

std::vector<RawRecord> read_raw(std::istream& in, const std::string& name) {
  RawHeader header;
  in.read(reinterpret_cast<char*>(&header), sizeof(header));
  if (in.gcount() != sizeof(header) || std::memcmp(&header, &kRawHeader, sizeof(header)) != 0) {
    throw BadTrace(name + ": not version 1 of a recording, whose records have 32 bytes");
  }
  std::vector<RawRecord> records;
  for (RawRecord record; in.read(reinterpret_cast<char*>(&record), sizeof(record));) {
    if (record.sequence != 0) records.push_back(record);
  }
  std::sort(records.begin(), records.end(),
            [](const RawRecord& a, const RawRecord& b) { return a.sequence < b.sequence; });
  return records;
}

}  // namespace

Trace read_recording(std::istream& in, const std::string& name) {
  std::uint64_t at = 0;
  Builder trace(
      [&](const std::string& what) { throw BadTrace(name + ": record " + std::to_string(at) + ": " + what); });
  for (const RawRecord& record : read_raw(in, name)) {
    at = record.sequence;
    const std::uint16_t thread = trace.thread(record.thread);
    const Op op = record.op < kOpCount ? static_cast<Op>(record.op) : Op::kScan;
    switch (op) {
      case Op::kMalloc:
      case Op::kCalloc:
      case Op::kMemalign:
      case Op::kNew:
      case Op::kNewArray:
        trace.make(op, thread, record.address, record.value, op == Op::kCalloc ? record.count : 0,
                   std::uint64_t{1} << (record.detail & 63));
        break;
      case Op::kRealloc:
        if (record.detail == 0) {
          trace.begin_remake(thread, record.address);
        } else {
          trace.end_remake(thread, record.address, record.value);
        }
        break;
      case Op::kFree:
      case Op::kDelete:
      case Op::kDeleteArray: trace.release(op, thread, record.address); break;
      case Op::kEnd:
      case Op::kFork: trace.add(op, thread); break;
      default:
        throw BadTrace(name + ": record " + std::to_string(at) + " has operation " + std::to_string(record.op) +
                       ", which no recording has; the file is damaged");
    }
  }
  return trace.take();
}

}  // namespace arenascan::trace
