// A process that listens (control=1) is asked, by itself, for all that it can tell; so is its child after a fork, and
// it again when it has changed its group. An answer is whole, or one line that says why there is none, or nobody
// listens.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/faults/story.h"

namespace arenascan::test {
namespace {

constexpr std::size_t kLostBytes = 100;

enum class Answer { kNone, kError, kBody };

struct Told {
  Answer kind = Answer::kNone;
  std::string body;
};

int connect_to_self() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/arenascan-%u/%d", geteuid(), getpid());
  const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) return -1;
  if (connect(file, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return file;
  close(file);
  return -1;
}

bool is_readable(int file) {
  const int patience_ms = needs_whole_scans() ? 20'000 : 3'000;
  pollfd wanted{file, POLLIN, 0};
  return poll(&wanted, 1, patience_ms) > 0;
}

Told parse(const std::string& answer) {
  Told told;
  const std::size_t end = answer.find('\n');
  if (end == std::string::npos) return told;  // the connection broke
  if (answer.starts_with("error ")) {
    CHECK(end + 1 == answer.size() && end > 16);
    told.kind = Answer::kError;
    return told;
  }
  CHECK(answer.starts_with("ok "));
  std::size_t length = 0;
  std::from_chars(answer.data() + 3, answer.data() + end, length);
  CHECK(answer.size() - end - 1 <= length);
  if (answer.size() - end - 1 != length) return told;
  told.kind = Answer::kBody;
  told.body = answer.substr(end + 1);
  return told;
}

// It may take a moment until somebody listens; or nobody ever does.
Told ask(const char* line) {
  static int tries = 15;
  for (int i = 0; i < tries; ++i) {
    if (i != 0) sleep_us(20'000);
    const int file = connect_to_self();
    if (file < 0) continue;
    std::string answer;
    if (send(file, line, std::strlen(line), MSG_NOSIGNAL) == static_cast<ssize_t>(std::strlen(line))) {
      char buffer[4096];
      for (ssize_t count = 0; is_readable(file) && (count = recv(file, buffer, sizeof(buffer), 0)) > 0;) {
        answer.append(buffer, static_cast<std::size_t>(count));
      }
    }
    close(file);
    if (!answer.empty()) return parse(answer);
  }
  tries = 1;
  return {};
}

// What was lost, and never more. Where calls fail it may be less: old words stay on stacks that could not be cleared,
// and a child may think that somebody else had it.
void check_scan() {
  arena_scrub_stack();
  const Told told = ask("scan\n");
  CHECK(told.kind == Answer::kBody || !needs_whole_scans());
  if (told.kind != Answer::kBody || told.body.starts_with("incomplete: ")) return;
  unsigned long long objects = 0;
  unsigned long long bytes = 0;
  const bool is_told = std::sscanf(told.body.c_str(), "leaked: %llu objects, %llu bytes\n", &objects, &bytes) == 2;
  const bool is_right = is_told && (objects == lost().objects || (objects < lost().objects && !needs_whole_scans())) &&
                        bytes == objects * kLostBytes;
  if (!is_right) std::fprintf(stderr, "said: %s", told.body.c_str());
  CHECK(is_right);
}

// None of it is of use to anybody but the next test of it; all of it has to come.
void ask_everything() {
  for (const char* line : {"stats\n", "report\n", "scan=7\n", "stack=off\n", "stack=on\n", "scan=off\n"}) {
    const Told told = ask(line);
    CHECK(told.kind == Answer::kBody || !needs_whole_scans());
  }
  CHECK(ask("dump=1\n").kind != Answer::kBody);
}

void ask_in_child() {
  const pid_t child = fork();
  if (child < 0) return;
  if (child == 0) {
    check_scan();
    _exit(finish());
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  CHECK(status == 0);
}

}  // namespace

void tell_control_story() {
  lose(10, kLostBytes);
  check_scan();
  ask_everything();
  ask_in_child();
  errno = 4711;
  CHECK(setegid(getegid()) == 0);
  CHECK(errno == 4711);
  check_scan();
  scan_and_check(Beside::kYes);
  ask("off\n");
}

}  // namespace arenascan::test
