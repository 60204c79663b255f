#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "alloc/check.h"
#include "alloc/os.h"
#include "scan/tasks.h"

namespace arenascan::scan {
namespace {

// A file of /proc/self/task/THREAD; empty when the thread is gone, or nobody can read it.
class TaskFile {
 public:
  TaskFile(int thread_id, std::string_view file) noexcept {
    alloc::FixedText path;
    path.text("/proc/self/task/").decimal(static_cast<std::uint64_t>(thread_id)).text("/").text(file).text({"\0", 1});
    length_ = alloc::os_read_file(path.view().data(), text_, sizeof(text_));
  }
  [[nodiscard]] bool is_gone() const noexcept { return length_ == -ENOENT || length_ == -ESRCH; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {text_, length_ > 0 ? static_cast<std::size_t>(length_) : 0};
  }

  // What follows "\nNAME:\t"; empty when there is no such line.
  [[nodiscard]] std::string_view field(std::string_view name) const noexcept {
    const std::size_t at = text().find(name);
    if (at == std::string_view::npos) return {};
    const std::string_view rest = text().substr(at + name.size());
    return rest.substr(0, rest.find('\n'));
  }

  [[nodiscard]] bool has_signal(std::string_view name, int signal) const noexcept {
    const std::string_view digits = field(name);
    std::uint64_t mask = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), mask, 16);
    return (mask >> (signal - 1) & 1) != 0;
  }

 private:
  char text_[4096];
  std::ptrdiff_t length_ = 0;  // negative: errno of the failure
};

}  // namespace

bool for_each_task(bool (*visit)(int thread_id, void* argument), void* argument) noexcept {
  const alloc::ErrnoKeeper keeper;
  const int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  alignas(8) char buffer[4096];
  long got = 0;
  bool go_on = true;
  while (go_on && (got = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
    for (long at = 0; go_on && at < got;) {
      constexpr std::size_t kLengthOffset = 16;  // of struct linux_dirent64
      constexpr std::size_t kNameOffset = 19;
      std::uint16_t length = 0;
      std::memcpy(&length, buffer + at + kLengthOffset, sizeof(length));
      const char* const name = buffer + at + kNameOffset;
      int thread_id = 0;
      std::from_chars(name, name + strnlen(name, 16), thread_id);
      if (thread_id > 0) go_on = visit(thread_id, argument);
      at += length;
    }
  }
  close(fd);
  return got >= 0;
}

bool has_ended(int thread_id) noexcept {
  const TaskFile file(thread_id, "stat");
  if (file.is_gone()) return true;
  const std::size_t state = file.text().rfind(") ");
  if (state == std::string_view::npos || state + 2 >= file.text().size()) return false;
  return file.text()[state + 2] == 'Z' || file.text()[state + 2] == 'X';
}

bool blocks_signal(int thread_id, int signal) noexcept {
  return TaskFile(thread_id, "status").has_signal("\nSigBlk:\t", signal);
}

bool has_pending(int thread_id, int signal) noexcept {
  return TaskFile(thread_id, "status").has_signal("\nSigPnd:\t", signal);
}

bool has_call_filter() noexcept {
  const TaskFile file(alloc::os_thread_id(), "status");
  const std::string_view mode = file.field("\nSeccomp:\t");
  return file.text().empty() || (!mode.empty() && mode != "0");
}

}  // namespace arenascan::scan
