#include "api/report/object.h"

#include "alloc/layout.h"
#include "api/report/frames.h"
#include "api/report/writer.h"

namespace arenascan::api::report {
namespace {

const char* to_text(scan::Description::Standing standing) noexcept {
  switch (standing) {
    case scan::Description::Standing::kNeverScanned: return "there was none, or it was incomplete";
    case scan::Description::Standing::kLongAgo: return "too many marks ago to be told";
    case scan::Description::Standing::kBornLater: return "the object was allocated after it";
    case scan::Description::Standing::kReached: return "reached";
    case scan::Description::Standing::kHeldByChanged: return "held by a changed orphan; not a leak";
    case scan::Description::Standing::kChanged: return "a changed orphan; not a leak";
    case scan::Description::Standing::kSuppressed: return "a leak that a suppression covers";
    case scan::Description::Standing::kForgotten: return "a leak, which was declared none since";
    case scan::Description::Standing::kNotDue: return "out of reach, but not for as long as a leak has to be";
    case scan::Description::Standing::kLeaked: return "a leak";
  }
  return "";
}

void write_annotations(Writer& out, std::uint8_t state) noexcept {
  out.text("; annotations:");
  if ((state & alloc::state::kPolicyMask) == 0) out.text(" none");
  if ((state & alloc::state::kNotLeak) != 0) out.text(" not a leak");
  if ((state & alloc::state::kIgnored) != 0) out.text(" ignored");
  if ((state & alloc::state::kNoScan) != 0) out.text(" not scanned");
}

void write_step(Writer& out, Frames& frames, const scan::Step& step) noexcept {
  out.hex(step.address).text(", ").decimal(step.bytes).text(" byte(s)");
  if (step.offset != 0) out.text(", into which it points ").decimal(step.offset).text(" byte(s) behind its beginning");
  out.text(", allocated from:\n");
  frames.write_stack(step.stack);
}

void write_thread(Writer& out, const char* what, const scan::RootRange& root) noexcept {
  out.text(what);
  if (root.thread != 0) out.text(" of thread ").decimal(static_cast<std::uint64_t>(root.thread));
}

void write_root(Writer& out, Frames& frames, const scan::Retainers& found) noexcept {
  const std::uintptr_t word = found.way[0].word;
  if (found.is_annotated) {
    out.text(
        "the program's annotation (not a leak, ignored, or allocated between arena_disable and arena_enable) of\n");
    return;
  }
  switch (found.root.kind) {
    case scan::RootKind::kGlobals:
      out.text("global data ");
      frames.write_variable(word);
      break;
    case scan::RootKind::kStack: write_thread(out, "the stack", found.root); break;
    case scan::RootKind::kRegisters: write_thread(out, "a register", found.root); break;
    case scan::RootKind::kTls: write_thread(out, "thread-local data", found.root); break;
    case scan::RootKind::kMapping: out.text("a private mapping"); break;
    case scan::RootKind::kUser: out.text("a range registered with arena_add_root"); break;
  }
  out.text(": at ").hex(word).text(" lies a pointer to\n");
}

void write_lost(Writer& out, Frames& frames, const scan::Retainers& found) noexcept {
  out.text("is not reached: no root leads to it");
  if (found.is_own) {
    write_thread(out, " but the stack or a register", found.root);
    out.text(", which asks (at ").hex(found.way[0].word).text(")");
  }
  out.text(".\n");
  for (const scan::Step& holder : found.holders) {
    out.text("Not reached either, it is pointed to ").decimal(holder.word - holder.address);
    out.text(" byte(s) behind the beginning of\n");
    write_step(out, frames, holder);
  }
  if (!found.holders.empty()) return;
  out.text("No other object points to it. It was allocated from:\n");
  frames.write_stack(found.object.stack);
}

}  // namespace

int write_description(int fd, std::uintptr_t asked, const scan::Description& known,
                      const alloc::StackTable& stacks) noexcept {
  Writer out(fd);
  Frames frames(out, stacks);
  out.text("Object ").hex(known.address).text(" of ").decimal(known.bytes).text(" byte(s) in a slot of ");
  out.decimal(known.slot_bytes);
  if (asked != known.address) {
    out.text(", asked for by ").hex(asked).text(", ").decimal(asked - known.address);
    out.text(" byte(s) behind its beginning");
  }
  out.text("\n  allocated ");
  if (known.age >= alloc::Birth::kOldestAge) out.text("at least ");
  out.decimal(known.age).text(" scan(s) and mark(s) ago");
  write_annotations(out, known.state);
  out.text("\n  last scan: ").text(to_text(known.standing));
  if (known.is_hashed) out.text("; checksum ").hex(known.checksum);
  out.text("\n  allocated from:\n");
  frames.write_stack(known.stack);
  return out.flush();
}

int write_retainers(int fd, const scan::Retainers& found, const alloc::StackTable& stacks) noexcept {
  Writer out(fd);
  Frames frames(out, stacks);
  if (found.incomplete != scan::Incomplete::kNo) {
    out.text("It cannot be told what holds the object: ").text(scan::to_text(found.incomplete));
    if (found.incomplete_thread != 0) {
      out.text(" (thread ").decimal(static_cast<std::uint64_t>(found.incomplete_thread)).text(")");
    }
    out.text("\n");
    return out.flush();
  }
  out.text("Object ").hex(found.object.address).text(" of ").decimal(found.object.bytes).text(" byte(s) ");
  if (!found.is_reached || found.is_own) {
    write_lost(out, frames, found);
    return out.flush();
  }
  out.text("is reached from\n  ");
  write_root(out, frames, found);
  for (std::size_t i = 0; i < found.way.size(); ++i) {
    write_step(out, frames, found.way[i]);
    if (i + 1 == found.way.size()) break;
    out.text("  which holds, ").decimal(found.way[i + 1].word - found.way[i].address);
    out.text(" byte(s) behind its beginning, a pointer to\n");
  }
  return out.flush();
}

}  // namespace arenascan::api::report
