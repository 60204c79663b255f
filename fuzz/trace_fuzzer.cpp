// Bytes as an allocation trace on a private heap, against an exact model (model.h).
#include "fuzz/chance.h"
#include "fuzz/model.h"
#include "fuzz/records.h"

using namespace arenascan;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Records records({data, size});
  fuzz::Model model(records.rest_bytes());
  fuzz::for_each_record(records, [&model](const trace::Record& record) { model.play(record); });
  model.finish();
  return 0;
}
