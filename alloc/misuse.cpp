#include "alloc/misuse.h"

#include <algorithm>

#include "alloc/check.h"
#include "alloc/os.h"

namespace arenascan::alloc {
namespace {

constexpr std::size_t kFramesShown = 12;

// Writer: the process's set-up, before other threads. Readers: reporters, relaxed for the same reason.
std::atomic<const StackTable*> g_stack_table{nullptr};

void add_birth(FixedText& line, const Page& page, std::uint32_t index) {
  const StackTable* const table = g_stack_table.load(std::memory_order_relaxed);
  if (table == nullptr) return;
  const auto frames = table->frames(page.birth(index).stack);
  if (frames.empty()) return;
  line.text("; allocated by");
  for (std::size_t i = 0; i < std::min(frames.size(), kFramesShown); ++i) {
    line.text(" ").hex(frames[i]);
    const CodePlace place = os_code_place(frames[i]);
    if (place.module == nullptr) continue;
    line.text(" (").text(*place.module == 0 ? "main program" : place.module).text("+").hex(place.offset).text(")");
  }
}

void add_block(FixedText& line, const Page& page, std::uint32_t index) {
  line.text("a block of ").decimal(page.requested_bytes(index)).text(" bytes at ").hex(page.address_of(index));
}

}  // namespace

void set_misuse_stack_table(const StackTable* table) noexcept { g_stack_table.store(table, std::memory_order_relaxed); }

void report_double_free(const Page& page, std::uint32_t index) noexcept {
  FixedText line;
  line.text("double free of ").hex(page.address_of(index)).text(": ");
  add_block(line, page, index);
  line.text(" that is free already");
  add_birth(line, page, index);
  fatal(line.view());
}

void report_interior_free(const Page& page, std::uint32_t index, std::uintptr_t address) noexcept {
  FixedText line;
  const bool live = state::is_allocated(page.states()[index].load(std::memory_order_relaxed));
  line.text("interior free of ").hex(address).text(": ").decimal(address - page.address_of(index));
  line.text(" bytes into ").text(live ? "" : "what was ");
  add_block(line, page, index);
  add_birth(line, page, index);
  fatal(line.view());
}

void report_invalid_free(std::uintptr_t address, const char* what) noexcept {
  FixedText line;
  line.text("invalid free of ").hex(address).text(": ").text(what);
  fatal(line.view());
}

void report_mismatched_free(const Page& page, std::uint32_t index, const char* allocated_by,
                            const char* freed_by) noexcept {
  FixedText line;
  line.text("mismatched free of ").hex(page.address_of(index)).text(": ");
  add_block(line, page, index);
  line.text(" that ").text(allocated_by).text(" allocated, by ").text(freed_by);
  add_birth(line, page, index);
  fatal(line.view());
}

void report_write_after_free(const Page& page, std::uint32_t index, std::size_t offset) noexcept {
  FixedText line;
  line.text("write after free: ").decimal(offset).text(" bytes into ");
  add_block(line, page, index);
  line.text(" that was freed before");
  add_birth(line, page, index);
  fatal(line.view());
}

}  // namespace arenascan::alloc
