// The socket at which a process listens: in a directory that only its user can enter, and from that user and root only.
//
// The program may close the file (daemons close all they did not open), open another that gets its number, or remove
// the socket: is_intact() tells, and open() begins anew.
//
// Threads: one at a time; Called by: service.
#pragma once

#include <cstdint>

#include "alloc/check.h"

namespace arenascan::api::control {

class Listener {
 public:
  constexpr Listener() = default;

  // False: `problem` says why it cannot be, in one line.
  bool open(alloc::FixedText& problem) noexcept;

  [[nodiscard]] bool is_intact() const noexcept;
  [[nodiscard]] int file() const noexcept { return file_; }
  [[nodiscard]] unsigned user() const noexcept { return user_; }  // whose directory it lies in

  // A connection; -1: there is none, or it is somebody else's, which is closed.
  int accept() const noexcept;

  // Nobody listens any more, and the socket is gone from its directory; in a process other than the one that opened it,
  // it stays there.
  void close() noexcept;

 private:
  struct Identity {
    std::uint64_t device = 0;
    std::uint64_t number = 0;
    friend bool operator==(const Identity&, const Identity&) = default;
  };
  [[nodiscard]] bool has_own_file() const noexcept;

  int file_ = -1;
  int process_ = 0;  // that opened it
  unsigned user_ = 0;
  Identity socket_;  // of the file
  Identity name_;    // of what lies in the directory
};

// Of the socket that this process listens at in that user's directory, by any thread: whoever waits for somebody looks
// up; and it is gone from there.
void wake_listener(unsigned user) noexcept;
void remove_socket(unsigned user) noexcept;

}  // namespace arenascan::api::control
