// `arenascan ctl` and `arenascan list`: the other side of api/control.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/cli/commands.h"
#include "api/cli/launch.h"
#include "api/control/request.h"

namespace arenascan::cli {
namespace {

namespace fs = std::filesystem;

class Connection {
 public:
  // The errno value of what went wrong is in error().
  explicit Connection(const fs::path& path) : file_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string& name = path.native();
    if (name.size() >= sizeof(address.sun_path)) {
      error_ = ENAMETOOLONG;
      return;
    }
    name.copy(address.sun_path, name.size());
    if (connect(file_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) error_ = errno;
  }
  ~Connection() {
    if (file_ >= 0) close(file_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] int error() const { return error_; }

  // Sends the line, and returns all that comes back.
  [[nodiscard]] std::string ask(const std::string& line) const {
    std::string answer;
    if (send(file_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) return answer;
    char buffer[4096];
    for (;;) {
      const ssize_t count = recv(file_, buffer, sizeof(buffer), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return answer;
      answer.append(buffer, static_cast<std::size_t>(count));
      if (is_whole(answer)) return answer;
    }
  }

  // What follows `ok LENGTH` and a newline, if all of it is there.
  static std::optional<std::string> body_of(const std::string& answer) {
    const std::size_t end = answer.find('\n');
    std::size_t length = 0;
    if (end == std::string::npos || !answer.starts_with("ok ")) return std::nullopt;
    const auto [stop, error] = std::from_chars(answer.data() + 3, answer.data() + end, length);
    if (error != std::errc() || stop != answer.data() + end || answer.size() - end - 1 != length) return std::nullopt;
    return answer.substr(end + 1);
  }

 private:
  // Whoever else has the other end open, there is no need to wait for them to close it.
  static bool is_whole(const std::string& answer) {
    return answer.starts_with("error ") ? answer.ends_with('\n') : body_of(answer).has_value();
  }

  int file_;
  int error_ = 0;
};

// The last number of a line of /proc/PID/status, or the second: of the effective user.
std::optional<unsigned> status_field(int process, const std::string& key, bool wants_last) {
  std::ifstream in("/proc/" + std::to_string(process) + "/status");
  for (std::string word; in >> word;) {
    if (word != key) continue;
    std::vector<unsigned> numbers;
    while (in.peek() != '\n') {
      unsigned number = 0;
      if (!(in >> number)) return std::nullopt;
      numbers.push_back(number);
    }
    if (numbers.empty()) return std::nullopt;
    return wants_last || numbers.size() == 1 ? numbers.back() : numbers[1];
  }
  return std::nullopt;
}

fs::path directory_of(unsigned user) { return std::string(api::control::kDirectory) + std::to_string(user); }

// Where the process may listen: as the user that it is now, that asks, or that it was at first; in its own idea of
// /tmp, by the number that it knows itself by.
std::vector<fs::path> places_of(int process) {
  std::vector<unsigned> users;
  if (const auto user = status_field(process, "Uid:", false)) users.push_back(*user);
  users.push_back(geteuid());
  users.push_back(0);
  const unsigned own_number = status_field(process, "NSpid:", true).value_or(static_cast<unsigned>(process));
  const fs::path root = "/proc/" + std::to_string(process) + "/root";
  std::vector<fs::path> places;
  for (const unsigned user : users) {
    const fs::path directory = directory_of(user);
    places.push_back(root.native() + directory.native() + "/" + std::to_string(own_number));
    places.push_back(directory / std::to_string(process));
  }
  return places;
}

std::string name_of(int process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}

std::optional<int> number_of(const fs::path& path) {
  const std::string name = path.filename();
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number <= 0) return std::nullopt;
  return number;
}

std::vector<fs::path> own_directories() {
  if (geteuid() != 0) return {directory_of(geteuid())};
  std::vector<fs::path> found;
  const fs::path prefix = std::string(api::control::kDirectory);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(prefix.parent_path(), ignored)) {
    const std::string& name = entry.path().native();
    const bool is_number = name.find_first_not_of("0123456789", prefix.native().size()) == std::string::npos;
    if (name.starts_with(prefix.native()) && is_number) found.push_back(entry.path());
  }
  return found;
}

// Asks wherever the process may listen. Nothing: it does not. What is said to a thread that ends just then gets no
// answer; the next one has a socket of its own, or there is none.
struct Asked {
  std::optional<std::string> answer;
  bool is_denied = false;
};
Asked ask_process(int process, const std::string& line) {
  constexpr int kTries = 4;
  Asked asked;
  for (int i = 0; i < kTries; ++i) {
    if (i != 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    asked.answer = std::nullopt;
    for (const fs::path& place : places_of(process)) {
      const Connection connection(place);
      asked.is_denied = asked.is_denied || connection.error() == EACCES;
      if (connection.error() != 0) continue;
      asked.answer = connection.ask(line);
      break;
    }
    if (!asked.answer || !asked.answer->empty()) break;
  }
  return asked;
}

}  // namespace

int control(int process, const std::string& command) {
  const std::string who = "process " + std::to_string(process);
  if (!fs::exists("/proc/" + std::to_string(process))) return fail(1, who + " does not exist");
  if (command.find('\n') != std::string::npos) return fail(1, "a command is one line");
  const Asked asked = ask_process(process, command + "\n");
  if (asked.answer) {
    const std::string& answer = *asked.answer;
    if (const auto body = Connection::body_of(answer)) {
      std::cout << *body << std::flush;
      return std::cout ? 0 : fail(1, "cannot write to standard output");
    }
    if (answer.starts_with("error ") && answer.ends_with('\n')) return fail(1, answer.substr(6, answer.size() - 7));
    return fail(1, who + " gave no whole answer; it may belong to another user");
  }
  if (asked.is_denied) return fail(1, who + " belongs to another user");
  return fail(1, who + " does not listen; start it with ARENASCAN_OPTIONS=control=1");
}

int list_listening() {
  for (const fs::path& directory : own_directories()) {
    std::set<int> found;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory, ignored)) {
      const auto process = number_of(entry.path());
      if (!process) continue;
      const int error = Connection(entry.path()).error();
      if (error == 0) found.insert(*process);
      if (error == ECONNREFUSED) fs::remove(entry.path(), ignored);  // it has ended otherwise than by exit
    }
    for (const int process : found) std::cout << process << ' ' << name_of(process) << '\n';
  }
  std::cout << std::flush;
  return std::cout ? 0 : fail(1, "cannot write to standard output");
}

}  // namespace arenascan::cli
