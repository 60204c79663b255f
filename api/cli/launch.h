// Starting a program with a library preloaded, for the subcommands that do.
//
// Called by: run, record, replay.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace arenascan::cli {

// What a command leaves with when it could not do its part; as the shell's.
inline constexpr int kCannotStart = 125;
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;

// Writes one line to standard error. Returns `status`.
int fail(int status, const std::string& why);

// This command's own file.
std::filesystem::path own_path();

// A library: `wanted`, or the file of this name beside the command or in the lib directory that belongs to it. Nothing,
// when there is none; why_no_library() says so.
std::optional<std::filesystem::path> find_library(const std::string& wanted, const char* name);
std::string why_no_library(const std::string& wanted, const char* name);

// For the environment of the program to be started.
void put_in_front(const char* variable, const std::string& value, char separator);
void append(const char* variable, const std::string& value, char separator);

// Runs a program (path or name, then its arguments), and waits for it; signals to this process go on to it. `prepare`
// is called in the child, before the program takes its place. Returns the program's status, 128 + n for signal n; or
// one of the above, with a line that says why, when it cannot be started or nothing can be preloaded into it.
int launch(const std::vector<std::string>& program, const std::function<void()>& prepare);

// A directory that is removed with everything in it. Only its owner can enter it. A program that root runs may go on as
// another user, who has to get in too: then anybody can who knows the name, which nobody can list.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }  // empty: it could not be made

 private:
  std::filesystem::path outer_;
  std::filesystem::path path_;
};

}  // namespace arenascan::cli
