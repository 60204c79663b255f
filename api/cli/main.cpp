// arenascan: run a program under the leak scanner.
#include <CLI/CLI.hpp>
#include <exception>

#include "api/cli/commands.h"
#include "api/cli/launch.h"

namespace arenascan::cli {
namespace {

int run_command_line(int argc, char** argv) {
  CLI::App app("Finds heap objects that nobody can reach any more.", "arenascan");
  app.set_version_flag("--version", ARENASCAN_VERSION);
  app.require_subcommand(1);

  RunRequest request;
  CLI::App* const run_command = app.add_subcommand("run", "Run a program under the scanner and print what it leaks");
  run_command
      ->add_option("-o,--option", request.options,
                   "An option of the library, key=value (repeatable; help=1 lists them)")
      ->take_all()
      ->expected(1);
  run_command->add_option("--log", request.log, "Write the reports to this file instead of standard error");
  run_command->add_option("--library", request.library,
                          "The library to preload instead of the one beside this command");
  run_command->add_option("program", request.program, "The program and its arguments, behind --")->required();
  run_command->positionals_at_end();

  CLI::App* const symbolize_command =
      app.add_subcommand("symbolize", "Name functions and lines: reads `MODULE 0xOFFSET` lines from standard input");

  int control_process = 0;
  std::string control_command;
  CLI::App* const control_command_line = app.add_subcommand(
      "ctl",
      "Ask a process that was started with the option control=1: scan, scan=on|off|SECONDS, stack=on|off, clear, "
      "off, dump=ADDRESS, report, stats");
  control_command_line->add_option("pid", control_process, "The process")->required()->check(CLI::PositiveNumber);
  control_command_line->add_option("command", control_command, "The command")->required();
  CLI::App* const list_command = app.add_subcommand("list", "List the processes that can be asked");

  RecordRequest record_request;
  CLI::App* const record_command =
      app.add_subcommand("record", "Run a program and write its allocations as a trace, for replay and trace2text");
  record_command
      ->add_option("-o,--output", record_request.output,
                   "The trace; other processes get this name with their number behind it")
      ->default_val("arenascan.trace");
  record_command->add_option("--library", record_request.library,
                             "The recorder to preload instead of the one beside this command");
  record_command->add_option("program", record_request.program, "The program and its arguments, behind --")->required();
  record_command->positionals_at_end();

  ReplayRequest replay_request;
  CLI::App* const replay_command = app.add_subcommand(
      "replay", "Play a trace under an allocator, threads and order kept: time, memory, and what its scans find");
  replay_command->add_option("trace", replay_request.trace, "The trace, of any form that trace2text reads")->required();
  replay_command->add_option("--allocator", replay_request.allocator,
                             "A library to preload instead of the one beside this command; `system` for none");
  std::string play_file;
  std::string play_name;
  CLI::App* const play_command = app.add_subcommand("play", "What replay starts")->group("");
  play_command->add_option("records", play_file)->required();
  play_command->add_option("name", play_name)->required();

  std::string trace_from;
  std::string trace_to;
  CLI::App* const to_text_command = app.add_subcommand(
      "trace2text",
      "Write an allocation trace (ours, memory_replay's, malloclab's, mtrace's, heaptrack's raw) as text");
  to_text_command->add_option("trace", trace_from, "The trace")->required();
  to_text_command->add_option("text", trace_to, "Where to; standard output without it");
  CLI::App* const to_records_command = app.add_subcommand("text2trace", "Write an allocation trace as records");
  to_records_command->add_option("trace", trace_from, "The trace, of any of these forms")->required();
  to_records_command->add_option("records", trace_to, "Where to")->required();

  CLI11_PARSE(app, argc, argv);
  if (record_command->parsed()) return record(record_request);
  if (replay_command->parsed()) return replay(replay_request);
  if (play_command->parsed()) return play(play_file, play_name);
  if (to_text_command->parsed()) return convert_trace(trace_from, trace_to, TraceForm::kText);
  if (to_records_command->parsed()) return convert_trace(trace_from, trace_to, TraceForm::kRecords);
  if (symbolize_command->parsed()) return symbolize();
  if (control_command_line->parsed()) return control(control_process, control_command);
  if (list_command->parsed()) return list_listening();
  return run(request);
}

}  // namespace
}  // namespace arenascan::cli

int main(int argc, char** argv) {
  try {
    return arenascan::cli::run_command_line(argc, argv);
  } catch (const std::exception& problem) {  // no memory, no thread, no file left
    return arenascan::cli::fail(arenascan::cli::kCannotStart, problem.what());
  }
}
