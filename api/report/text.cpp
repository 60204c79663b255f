#include "api/report/text.h"

#include "alloc/options.h"
#include "alloc/os.h"
#include "api/report/frames.h"
#include "api/report/writer.h"

namespace arenascan::api::report {
namespace {

class TextReport {
 public:
  TextReport(int fd, const alloc::StackTable& stacks) noexcept : out_(fd), frames_(out_, stacks) {}

  int write(const scan::Verdict& verdict) noexcept {
    const alloc::Options& options = alloc::options();
    if (verdict.incomplete != scan::Incomplete::kNo) {
      write_incomplete(verdict);
      return out_.flush();
    }
    const std::uint64_t leaked = verdict.direct.objects + verdict.indirect.objects;
    if (leaked == 0) {
      write_no_leaks(verdict);
    } else {
      write_leaks(verdict, options.max_leaks);
    }
    if (options.print_changed) write_changed(verdict);
    if (leaked != 0 && options.print_summary) {
      out_.text("SUMMARY: LeakSanitizer: ").decimal(verdict.direct.bytes + verdict.indirect.bytes);
      out_.text(" byte(s) leaked in ").decimal(leaked).text(" allocation(s).\n");
    }
    return out_.flush();
  }

 private:
  void write_process() noexcept {
    out_.text("==").decimal(static_cast<std::uint64_t>(alloc::os_process_id())).text("==");
  }

  void write_incomplete(const scan::Verdict& verdict) noexcept {
    write_process();
    out_.text("WARNING: arenascan: scan incomplete, nothing is claimed: ").text(to_text(verdict.incomplete));
    if (verdict.incomplete_thread != 0) {
      out_.text(" (thread ").decimal(static_cast<std::uint64_t>(verdict.incomplete_thread)).text(")");
    }
    out_.text("\n");
  }

  void write_no_leaks(const scan::Verdict& verdict) noexcept {
    write_process();
    out_.text("arenascan: no leaks (").decimal(verdict.seen.objects).text(" objects, ");
    out_.decimal(verdict.seen.bytes).text(" bytes, ").decimal(verdict.reached.objects).text(" reached)\n");
  }

  void write_leaks(const scan::Verdict& verdict, unsigned most) noexcept {
    out_.text("\n=================================================================\n");
    write_process();
    out_.text("ERROR: LeakSanitizer: detected memory leaks\n\n");
    unsigned shown = 0;
    for (const scan::Group& group : verdict.leaks) {
      if (most != 0 && shown == most) {
        out_.text("... and ").decimal(verdict.leaks.size() - shown).text(" more groups (max_leaks=").decimal(most);
        out_.text(")\n\n");
        break;
      }
      ++shown;
      out_.text(group.direct ? "Direct" : "Indirect").text(" leak of ").decimal(group.bytes).text(" byte(s) in ");
      out_.decimal(group.objects).text(" object(s) allocated from:\n");
      frames_.write_stack(group.stack);
    }
  }

  void write_changed(const scan::Verdict& verdict) noexcept {
    for (const scan::Group& group : verdict.changed_groups) {
      out_.text(group.direct ? "Changed orphan: " : "Held by a changed orphan: ").decimal(group.bytes);
      out_.text(" byte(s) in ").decimal(group.objects).text(" object(s)");
      if (group.direct) {
        out_.text(", written since they became unreachable: a pointer to them is stored where the scan does not look");
      }
      out_.text("; not a leak. Allocated from:\n");
      frames_.write_stack(group.stack);
    }
  }

  Writer out_;
  Frames frames_;
};

}  // namespace

int write_text_report(int fd, const scan::Verdict& verdict, const alloc::StackTable& stacks) noexcept {
  return TextReport(fd, stacks).write(verdict);
}

}  // namespace arenascan::api::report
