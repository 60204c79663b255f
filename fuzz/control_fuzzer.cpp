// Bytes as what others say to a process that listens (api/control): requests, each up to a zero byte, over a socket
// each; against a second parser and a plain model of what the process knows. The commands are carried out, on the
// process's own heap. In a request `@` stands for the address of an object that is held, `#` for that of one that is
// lost; one that begins with a byte of 1 comes from somebody who hangs up at once, and one with a byte of 2 is none,
// but lets time pass until a scan is due.
//
// The library is linked whole, and libFuzzer looks for leaks of it: what is lost here is given back in the end.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "alloc/os.h"
#include "api/arenascan/arena.h"
#include "api/control/control.h"
#include "api/control/conversation.h"
#include "fuzz/require.h"

using namespace arenascan;
using fuzz::require;

extern "C" const char* arena_default_options() { return "at_exit=0:min_age_s=0:symbolize=0:second_look_ms=1"; }

namespace {

constexpr std::size_t kObjectBytes = 50;

void* volatile g_held = nullptr;
std::uintptr_t g_lost = 0;  // complement

[[gnu::noinline]] void lose_one() { g_lost = ~reinterpret_cast<std::uintptr_t>(std::calloc(1, kObjectBytes)); }
[[gnu::noinline]] void give_back() {
  std::free(reinterpret_cast<void*>(~g_lost));
  g_lost = ~std::uintptr_t{0};
}

std::string hex(std::uintptr_t number) {
  char text[20] = "0x";
  const auto end = std::to_chars(text + 2, text + sizeof(text), number, 16).ptr;
  return {text, end};
}

// Its memory is not left behind with an address in it.
void wipe(std::string& text) { std::fill(text.begin(), text.end(), '\0'); }

std::string substitute(std::string_view request) {
  std::string text;
  text.reserve(request.size() * 20);
  for (const char c : request) {
    if (c == '@') {
      text += hex(reinterpret_cast<std::uintptr_t>(g_held));
    } else if (c == '#') {
      text += hex(~g_lost);
    } else {
      text += c;
    }
  }
  return text;
}

bool parse(std::string_view digits, std::uint64_t base, std::uint64_t& number) {
  number = 0;
  for (const char c : digits) {
    const std::uint64_t digit = c >= '0' && c <= '9'   ? static_cast<std::uint64_t>(c - '0')
                                : c >= 'a' && c <= 'f' ? static_cast<std::uint64_t>(c - 'a' + 10)
                                : c >= 'A' && c <= 'F' ? static_cast<std::uint64_t>(c - 'A' + 10)
                                                       : 16;
    if (digit >= base || number > (UINT64_MAX - digit) / base) return false;
    number = number * base + digit;
  }
  return !digits.empty();
}

class Model {
 public:
  explicit Model(const api::control::Control& control) : control_(control) {}

  // What one request, all of it, has to be answered with. `answer` is what was.
  void check(std::string_view sent, std::string_view answer) {
    const std::string_view line = sent.substr(0, sent.find('\n'));
    const bool is_good = line.size() <= api::control::kLongestRequest && play(line);
    std::string_view body;
    require(is_good == take_body(answer, body));
    if (!is_good) return;
    if (line == "scan") check_scan(body);
    if (line == "stats") check_stats(body);
    if (line.starts_with("report")) require(!body.empty());
    if (line.starts_with("dump=")) require(body.starts_with("Object 0x"));
    const bool says_nothing =
        line.starts_with("scan=") || line.starts_with("stack=") || line == "clear" || line == "off";
    require(says_nothing == body.empty());
    check_schedule();
  }

  void count_scan() {
    ++scans_;
    has_scanned_ = true;
  }
  [[nodiscard]] bool scans_by_itself() const { return every_ != 0; }

  void check_schedule() const {
    const std::uint64_t now = alloc::os_monotonic_ns();
    require((control_.next_ns() == UINT64_MAX) == (every_ == 0));
    if (every_ != 0) require(control_.next_ns() <= now + every_ * 1'000'000'000);
  }

 private:
  // Whether the request is a good one; what it changes.
  bool play(std::string_view line) {
    std::uint64_t number = 0;
    if (line == "scan") {
      count_scan();
    } else if (line == "scan=on") {
      every_ = every_ == 0 ? 600 : every_;
    } else if (line == "scan=off") {
      every_ = 0;
    } else if (line.starts_with("scan=")) {
      if (!parse(line.substr(5), 10, number) || number > 31'536'000) return false;
      every_ = number;
    } else if (line == "stack=on" || line == "stack=off") {
      has_stacks_ = line == "stack=on";
    } else if (line == "clear") {
      is_cleared_ = is_cleared_ || was_told_;
    } else if (line == "off") {
      every_ = 0;
    } else if (line.starts_with("dump=")) {
      return is_object(line.substr(5));
    } else if (line == "report" || line == "report=text") {
      return has_scanned_;
    } else if (line != "stats") {
      return false;
    }
    return true;
  }

  static bool is_object(std::string_view text) {
    std::uint64_t number = 0;
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    if (!parse(is_hex ? text.substr(2) : text, is_hex ? 16 : 10, number)) return false;
    constexpr int kNowhere = -1;
    return arena_dump(reinterpret_cast<const void*>(number), kNowhere) == 0 || errno != EINVAL;
  }

  // `ok LENGTH` and so many bytes, or `error` and one printable line.
  static bool take_body(std::string_view answer, std::string_view& body) {
    const std::size_t end = answer.find('\n');
    require(end != std::string_view::npos);
    if (answer.starts_with("error ")) {
      require(end + 1 == answer.size());
      for (const char c : answer.substr(0, end)) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
      return false;
    }
    std::uint64_t length = 0;
    require(answer.starts_with("ok ") && parse(answer.substr(3, end - 3), 10, length));
    body = answer.substr(end + 1);
    require(body.size() == length);
    return true;
  }

  // Never more than what is lost; an old word may keep that. Only where its stack is no root there may be more.
  void check_scan(std::string_view body) {
    if (body.starts_with("incomplete: ")) return;
    require(body.starts_with("leaked: "));
    const bool is_told = !body.starts_with("leaked: 0 ");
    if (!has_stacks_) return;
    require(!is_told || (!is_cleared_ && body.starts_with("leaked: 1 objects, 50 bytes\n")));
    was_told_ = is_told;
  }

  void check_stats(std::string_view body) const {
    const auto has = [body](const std::string& words) { return body.find(words) != std::string_view::npos; };
    require(body.starts_with("process: " + std::to_string(getpid()) + " "));
    require(every_ == 0 ? has("\nscanning: when asked\n")
                        : has("\nscanning: every " + std::to_string(every_) + " s, "));
    require(has(has_stacks_ ? "\nstacks: on\n" : "\nstacks: off\n"));
    require(has("\nscans: " + std::to_string(scans_) + ", incomplete: "));
    require(has("\nheap: ") && has("\nlast scan:"));
  }

  const api::control::Control& control_;
  std::uint64_t every_ = 600;
  std::uint64_t scans_ = 0;
  bool has_stacks_ = true;
  bool was_told_ = false;                   // that the object is lost, by the last scan of one's own
  bool is_cleared_ = false;                 // after that
  static inline bool has_scanned_ = false;  // of the process
};

// Sends the request, has it answered, and returns the answer. All of it lies in the socket meanwhile.
std::string converse(std::string_view request, bool hangs_up, api::control::Control& control) {
  int ends[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  require(send(ends[0], request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  if (hangs_up) {
    close(ends[0]);
  } else {
    shutdown(ends[0], SHUT_WR);
  }
  errno = 4711;
  api::control::converse(ends[1], &api::control::Control::answer, &control);
  require(errno == 4711);
  close(ends[1]);
  std::string answer;
  if (hangs_up) return answer;
  char buffer[4096];
  for (ssize_t count = 0; (count = recv(ends[0], buffer, sizeof(buffer), 0)) > 0;) {
    answer.append(buffer, static_cast<std::size_t>(count));
  }
  close(ends[0]);
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr char kHangsUp = 1;
  constexpr char kTimePasses = 2;
  constexpr std::size_t kMostRequests = 12;
  if (g_held == nullptr) g_held = std::calloc(1, kObjectBytes);
  lose_one();
  static constinit std::atomic<bool> goes_on{true};
  api::control::Control control(goes_on, alloc::os_monotonic_ns());
  Model model(control);
  model.check_schedule();
  std::string_view input(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 4096));
  for (std::size_t i = 0; i < kMostRequests && !input.empty(); ++i) {
    const std::size_t end = std::min(input.find('\0'), input.size());
    std::string_view request = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (request.starts_with(kTimePasses)) {
      if (!model.scans_by_itself()) continue;
      control.run_due(control.next_ns());
      model.count_scan();
      model.check_schedule();
      continue;
    }
    const bool hangs_up = request.starts_with(kHangsUp);
    if (hangs_up) request.remove_prefix(1);
    std::string sent = substitute(request);
    const std::string answer = converse(sent, hangs_up, control);
    if (hangs_up) break;  // whether it was carried out is nobody's business
    model.check(sent, answer);
    wipe(sent);
  }
  give_back();
  return 0;
}
