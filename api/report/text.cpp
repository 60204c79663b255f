#include "api/report/text.h"

#include <algorithm>
#include <cstring>

#include "alloc/options.h"
#include "alloc/os.h"
#include "api/report/frames.h"
#include "api/report/groups.h"
#include "api/report/writer.h"

namespace arenascan::api::report {
namespace {

std::uint64_t leaked_objects(const scan::Verdict& verdict) noexcept {
  return verdict.direct.objects + verdict.indirect.objects;
}

class TextReport {
 public:
  TextReport(int fd, const alloc::StackTable& stacks) noexcept : out_(fd), stacks_(stacks), frames_(out_, stacks) {}

  int write(const scan::Verdict& verdict, Suppressions& suppressions, const TextSettings& settings) noexcept {
    if (verdict.incomplete != scan::Incomplete::kNo) {
      write_incomplete(verdict);
      return out_.flush();
    }
    const std::uint64_t leaked = leaked_objects(verdict);
    if (leaked != 0) {
      write_leaks(verdict);
    } else if (settings.tells_no_leaks) {
      write_no_leaks(verdict);
    }
    if (options_.print_changed) write_changed(verdict);
    if (options_.print_suppressions) write_used(verdict, suppressions);
    if (options_.print_unused_suppressions) write_unused(suppressions);
    if (leaked != 0 && options_.print_summary) {
      out_.text("SUMMARY: LeakSanitizer: ").decimal(verdict.direct.bytes + verdict.indirect.bytes);
      out_.text(" byte(s) leaked in ").decimal(leaked).text(" allocation(s).\n");
    }
    return out_.flush();
  }

 private:
  void write_process() noexcept {
    if (options_.log_exe_name) out_.text("==").text(program_name().view());
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

  void write_leaks(const scan::Verdict& verdict) noexcept {
    out_.text("\n=================================================================\n");
    write_process();
    out_.text("ERROR: LeakSanitizer: detected memory leaks\n\n");
    const alloc::MetaVector<CoarseGroup> groups = coarse_groups(verdict.leaks, stacks_, options_.resolution);
    const std::size_t most = options_.max_leaks;
    const std::size_t shown = most == 0 ? groups.size() : std::min(most, groups.size());
    if (shown < groups.size()) out_.text("The ").decimal(shown).text(" top leak(s):\n");
    for (std::size_t i = 0; i < shown; ++i) write_group(groups[i], verdict);
    if (shown < groups.size()) out_.text("Omitting ").decimal(groups.size() - shown).text(" more leak(s).\n");
  }

  void write_group(const CoarseGroup& group, const scan::Verdict& verdict) noexcept {
    out_.text(group.direct ? "Direct" : "Indirect").text(" leak of ").decimal(group.bytes).text(" byte(s) in ");
    out_.decimal(group.objects).text(" object(s) allocated from:\n");
    frames_.write_stack(group.stack, group.frames);
    if (!options_.report_objects) return;
    out_.text("Objects leaked above:\n");
    for (const scan::LeakedObject& object : verdict.objects) {
      if (!group.holds(object, stacks_)) continue;
      out_.hex(object.address).text(" (").decimal(object.bytes).text(" bytes)\n");
    }
    out_.text("\n");
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

  void write_used(const scan::Verdict& verdict, Suppressions& suppressions) noexcept {
    if (verdict.suppressed_groups.empty()) return;
    out_.text(kLine).text("Suppressions used:\n  count      bytes template\n");
    for (std::size_t i = 0; i < suppressions.list().size(); ++i) {
      scan::Count count;
      for (const scan::Group& group : verdict.suppressed_groups) {
        if (suppressions.covering(group.stack) != i) continue;
        count.objects += group.objects;
        count.bytes += group.bytes;
      }
      if (count.objects == 0) continue;
      write_right(count.objects, 7);
      out_.text(" ");
      write_right(count.bytes, 10);
      out_.text(" ").text(suppressions.list().pattern(i)).text("\n");
    }
    out_.text(kLine).text("\n");
  }

  void write_unused(Suppressions& suppressions) noexcept {
    bool any = false;
    for (std::size_t i = 0; i < suppressions.list().size(); ++i) {
      if (suppressions.was_used(i)) continue;
      if (!any) out_.text("Suppressions that have matched nothing:\n");
      out_.text("  ").text(suppressions.list().pattern(i)).text("\n");
      any = true;
    }
    if (any) out_.text("\n");
  }

  void write_right(std::uint64_t value, std::size_t width) noexcept {
    alloc::FixedText digits;
    digits.decimal(value);
    for (std::size_t i = digits.view().size(); i < width; ++i) out_.text(" ");
    out_.text(digits.view());
  }

  static constexpr std::string_view kLine = "-----------------------------------------------------\n";

  const alloc::Options& options_ = alloc::options();
  Writer out_;
  const alloc::StackTable& stacks_;
  Frames frames_;
};

}  // namespace

int write_text_report(int fd, const scan::Verdict& verdict, const alloc::StackTable& stacks, Suppressions& suppressions,
                      const TextSettings& settings) noexcept {
  return TextReport(fd, stacks).write(verdict, suppressions, settings);
}

bool has_text(const scan::Verdict& verdict, Suppressions& suppressions) noexcept {
  const alloc::Options& options = alloc::options();
  return verdict.incomplete != scan::Incomplete::kNo || leaked_objects(verdict) != 0 ||
         (!verdict.suppressed_groups.empty() && options.print_suppressions) ||
         (options.print_unused_suppressions && suppressions.has_unused());
}

}  // namespace arenascan::api::report
