#include "api/control/conversation.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "alloc/os.h"
#include "scan/pagemap.h"

namespace arenascan::api::control {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;

// The file with the answer. Writer: the thread that converses. Reader: the child of a fork; relaxed, for a fork orders
// them.
constinit std::atomic<int> g_body{-1};

// Until `until_ns`, by os_monotonic_ns(). False: it is not to be.
bool wait_for(int connection, short events, std::uint64_t until_ns) noexcept {
  for (;;) {
    const std::uint64_t now = alloc::os_monotonic_ns();
    if (now >= until_ns) return false;
    pollfd wanted{connection, events, 0};
    const int found = poll(&wanted, 1, static_cast<int>((until_ns - now) / kNsPerMs) + 1);
    if (found > 0) return (wanted.revents & events) != 0;
    if (found < 0 && errno != EINTR) return false;
  }
}

bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

class Line {
 public:
  // Reads up to a newline, or the end of what is sent. False: that did not come, and nobody is owed an answer.
  bool read(int connection) noexcept {
    const std::uint64_t until = alloc::os_monotonic_ns() + kRequestMs * kNsPerMs;
    while (!is_whole_ && length_ < buffer_.size() && wait_for(connection, POLLIN, until)) {
      const ssize_t count = recv(connection, buffer_.data() + length_, buffer_.size() - length_, MSG_DONTWAIT);
      if (count < 0 && would_block()) continue;
      if (count < 0) return false;
      const std::size_t before = length_;
      length_ += static_cast<std::size_t>(count);
      const std::size_t end = std::string_view(buffer_.data(), length_).find('\n', before);
      is_whole_ = count == 0 || end != std::string_view::npos;
      if (end != std::string_view::npos) length_ = end;
    }
    return is_whole_ || length_ == buffer_.size();
  }
  [[nodiscard]] std::string_view view() const noexcept { return {buffer_.data(), length_}; }

 private:
  std::array<char, kLongestRequest + 1> buffer_;
  std::size_t length_ = 0;
  bool is_whole_ = false;
};

bool send_all(int connection, std::string_view bytes, std::uint64_t until) noexcept {
  while (!bytes.empty()) {
    if (!wait_for(connection, POLLOUT, until)) return false;
    const ssize_t count = send(connection, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && !would_block()) return false;
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void send_problem(int connection, const alloc::FixedText& problem) noexcept {
  alloc::FixedText line;
  line.text("error ").text(problem.view());
  const std::uint64_t until = alloc::os_monotonic_ns() + kAnswerMs * kNsPerMs;
  if (send_all(connection, line.view(), until)) send_all(connection, "\n", until);
}

void send_body(int connection, int body) noexcept {
  const std::uint64_t until = alloc::os_monotonic_ns() + kAnswerMs * kNsPerMs;
  struct stat status {};
  if (fstat(body, &status) != 0) return;
  alloc::FixedText head;
  head.text("ok ").decimal(static_cast<std::uint64_t>(status.st_size)).text("\n");
  bool goes_on = send_all(connection, head.view(), until);
  char buffer[4096];
  for (off_t at = 0; goes_on && at < status.st_size;) {
    const ssize_t count = pread(body, buffer, sizeof(buffer), at);
    if (count <= 0) return;
    goes_on = send_all(connection, {buffer, static_cast<std::size_t>(count)}, until);
    at += count;
  }
}

void answer_request(int connection, const Request& request, AnswerRequest answer, void* argument) noexcept {
  alloc::FixedText problem;
  const int body = scan::move_out_of_the_way(memfd_create("arenascan answer", MFD_CLOEXEC));
  if (body < 0) {
    problem.text("there is no file for the answer: too many are open, or the system refuses it (memfd_create)");
    send_problem(connection, problem);
    return;
  }
  g_body.store(body, std::memory_order_relaxed);
  if (answer(request, body, problem, argument)) {
    send_body(connection, body);
  } else {
    send_problem(connection, problem);
  }
  g_body.store(-1, std::memory_order_relaxed);
  close(body);
}

}  // namespace

void converse(int connection, AnswerRequest answer, void* argument) noexcept {
  const alloc::ErrnoKeeper keeper;
  Line line;
  if (!line.read(connection)) return;
  Request request;
  alloc::FixedText problem;
  if (line.view().size() > kLongestRequest) {
    problem.text("a request has at most ").decimal(kLongestRequest).text(" bytes and a newline");
    send_problem(connection, problem);
  } else if (!parse_request(line.view(), request, problem)) {
    send_problem(connection, problem);
  } else {
    answer_request(connection, request, answer, argument);
  }
}

void abandon_conversation() noexcept {
  const alloc::ErrnoKeeper keeper;
  const int body = g_body.exchange(-1, std::memory_order_relaxed);
  if (body >= 0) close(body);
}

}  // namespace arenascan::api::control
