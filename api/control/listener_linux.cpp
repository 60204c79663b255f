#include "api/control/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "alloc/os.h"
#include "api/control/request.h"
#include "scan/pagemap.h"

namespace arenascan::api::control {
namespace {

constexpr int kBacklog = 8;

alloc::FixedText directory_of(unsigned user) noexcept {
  alloc::FixedText path;
  path.text(kDirectory).decimal(user);
  return path;
}

sockaddr_un address_of(unsigned user, int process) noexcept {
  alloc::FixedText path = directory_of(user);
  path.text("/").decimal(static_cast<std::uint64_t>(process));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.view().data(), path.view().size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) noexcept { return reinterpret_cast<const sockaddr*>(&address); }

bool refuse(alloc::FixedText& problem, std::string_view path, std::string_view why) noexcept {
  problem.text("arenascan: control: ").text(path).text(": ").text(why);
  return false;
}

bool prepare_directory(unsigned user, alloc::FixedText& problem) noexcept {
  const alloc::FixedText name = directory_of(user);
  alloc::FixedText path = name;
  path.text({"\0", 1});
  if (mkdir(path.view().data(), 0700) != 0 && errno != EEXIST) {
    return refuse(problem, name.view(), "cannot be made; nobody can ask this process");
  }
  struct stat status {};
  if (lstat(path.view().data(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != user ||
      (status.st_mode & 077) != 0) {
    return refuse(
        problem, name.view(),
        "is no directory that its user alone can enter (mode 700), as it has to be; nobody can ask this process");
  }
  return true;
}

// Whether somebody listens there. A socket that nobody listens at is what a process has left that has ended.
bool is_taken(const sockaddr_un& address) noexcept {
  const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (file < 0) return false;
  const bool is_heard = connect(file, generic(address), sizeof(address)) == 0 || errno == EAGAIN;
  ::close(file);
  return is_heard;
}

}  // namespace

bool Listener::open(alloc::FixedText& problem) noexcept {
  const alloc::ErrnoKeeper keeper;
  close();
  process_ = alloc::os_process_id();
  user_ = geteuid();
  if (!prepare_directory(user_, problem)) return false;
  const sockaddr_un address = address_of(user_, process_);
  if (is_taken(address)) return refuse(problem, address.sun_path, "another process of this number listens there");
  unlink(address.sun_path);
  const int file = scan::move_out_of_the_way(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  struct stat of_file {};
  struct stat of_name {};
  if (file < 0 || bind(file, generic(address), sizeof(address)) != 0 || listen(file, kBacklog) != 0 ||
      fstat(file, &of_file) != 0 || lstat(address.sun_path, &of_name) != 0) {
    if (file >= 0) ::close(file);
    return refuse(problem, address.sun_path, "cannot be listened at; nobody can ask this process");
  }
  file_ = file;
  socket_ = {of_file.st_dev, of_file.st_ino};
  name_ = {of_name.st_dev, of_name.st_ino};
  return true;
}

bool Listener::has_own_file() const noexcept {
  struct stat status {};
  if (file_ < 0) return false;
  if (fstat(file_, &status) != 0) return errno != EBADF;  // who cannot tell leaves things as they are
  return socket_ == Identity{status.st_dev, status.st_ino};
}

bool Listener::is_intact() const noexcept {
  const alloc::ErrnoKeeper keeper;
  struct stat status {};
  if (!has_own_file()) return false;
  if (lstat(address_of(user_, process_).sun_path, &status) != 0) return errno != ENOENT && errno != ENOTDIR;
  return name_ == Identity{status.st_dev, status.st_ino};
}

int Listener::accept() const noexcept {
  const alloc::ErrnoKeeper keeper;
  const int connection = scan::move_out_of_the_way(accept4(file_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection < 0) return -1;
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  const bool is_known = getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0;
  if (is_known && (peer.uid == 0 || peer.uid == user_ || peer.uid == geteuid())) return connection;
  ::close(connection);
  return -1;
}

void Listener::close() noexcept {
  const alloc::ErrnoKeeper keeper;
  if (process_ == alloc::os_process_id() && is_intact()) unlink(address_of(user_, process_).sun_path);
  if (has_own_file()) ::close(file_);
  file_ = -1;
}

void wake_listener(unsigned user) noexcept {
  const alloc::ErrnoKeeper keeper;
  is_taken(address_of(user, alloc::os_process_id()));
}

void remove_socket(unsigned user) noexcept {
  const alloc::ErrnoKeeper keeper;
  unlink(address_of(user, alloc::os_process_id()).sun_path);
}

}  // namespace arenascan::api::control
