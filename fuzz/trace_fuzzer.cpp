// Bytes as an allocation trace on a private heap, against an exact model (model.h). Each 20 bytes are a record; an
// operation that does not exist is taken modulo those that do. The header of a trace in a file is left out, so such
// files are inputs as they are.
#include <algorithm>

#include "api/trace/file.h"
#include "fuzz/model.h"

using namespace arenascan;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (std::string_view(reinterpret_cast<const char*>(data), size).starts_with(trace::kMagic)) {
    const std::size_t header = std::min(size, trace::kHeaderBytes);
    data += header;
    size -= header;
  }
  fuzz::Model model;
  for (; size >= trace::kRecordBytes; data += trace::kRecordBytes, size -= trace::kRecordBytes) {
    trace::RecordBytes bytes;
    std::copy_n(data, bytes.size(), bytes.begin());
    constexpr std::size_t kOp = 18;
    bytes[kOp] %= trace::kOpCount;
    model.play(*trace::decode(bytes));
  }
  model.finish();
  return 0;
}
