// Memory that belongs to no heap: arrays, and the records of a trace in its file.
//
// Called by: play.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <span>
#include <string>
#include <system_error>

#include "api/trace/file.h"

namespace arenascan::cli {

// An array outside of any heap, zero at first.
template <typename T>
class Mapped {
 public:
  explicit Mapped(std::size_t count) : count_(count) {
    void* const memory =
        mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<T*>(memory);
  }
  ~Mapped() { munmap(data_, bytes()); }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  T& operator[](std::size_t i) const { return data_[i]; }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] T* data() const { return data_; }

 private:
  [[nodiscard]] std::size_t bytes() const { return (count_ + 1) * sizeof(T); }
  std::size_t count_;
  T* data_;
};

// A file of records, mapped.
class RecordFile {
 public:
  explicit RecordFile(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) throw std::system_error(errno, std::generic_category(), path);
    const auto bytes = static_cast<std::size_t>(status.st_size);
    void* const memory = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), path);
    close(fd);
    first_ = static_cast<const std::uint8_t*>(memory) + trace::kHeaderBytes;
    count_ = (bytes - trace::kHeaderBytes) / trace::kRecordBytes;
  }
  [[nodiscard]] std::size_t size() const { return count_; }
  trace::Record operator[](std::size_t i) const {
    return *trace::decode(
        std::span<const std::uint8_t, trace::kRecordBytes>(first_ + i * trace::kRecordBytes, trace::kRecordBytes));
  }

 private:
  const std::uint8_t* first_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace arenascan::cli
