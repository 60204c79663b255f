// arenascan: run a program under the leak scanner.
#include <CLI/CLI.hpp>

#include "api/cli/commands.h"

int main(int argc, char** argv) {
  using namespace arenascan::cli;
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

  CLI11_PARSE(app, argc, argv);
  if (symbolize_command->parsed()) return symbolize();
  return run(request);
}
