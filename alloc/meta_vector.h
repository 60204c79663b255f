// A growing array in the tool's own memory (meta_alloc.h) that reports failure instead of throwing.
//
// std::vector with an allocator would throw, and throwing allocates from the very heap that may be locked or whose
// users may be stopped. Elements are trivially copyable: growth is one copy of bytes.
//
// Threads: one thread at a time, as any container.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "alloc/meta_alloc.h"

namespace arenascan::alloc {

template <typename T>
class MetaVector {
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(alignof(T) <= 16);

 public:
  MetaVector() = default;
  MetaVector(MetaVector&& other) noexcept { swap(other); }
  MetaVector& operator=(MetaVector&& other) noexcept {
    MetaVector taken(std::move(other));
    swap(taken);
    return *this;
  }
  MetaVector(const MetaVector&) = delete;
  MetaVector& operator=(const MetaVector&) = delete;
  ~MetaVector() { meta_free(data_); }

  void swap(MetaVector& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  // Room for `count` elements in all. False when there is no memory; nothing changes then.
  [[nodiscard]] bool reserve(std::size_t count) noexcept {
    if (count <= capacity_) return true;
    void* grown = meta_allocate(count * sizeof(T));
    if (grown == nullptr) return false;
    if (size_ != 0) std::memcpy(grown, data_, size_ * sizeof(T));
    meta_free(data_);
    data_ = static_cast<T*>(grown);
    capacity_ = count;
    return true;
  }

  // Room for `more` elements behind those there are, and for as many again as there was room for, so that it is not
  // asked for each time. False as above.
  [[nodiscard]] bool make_room(std::size_t more) noexcept {
    constexpr std::size_t kLeast = 64;
    const std::size_t wanted = size_ + more;
    return wanted <= capacity_ || reserve(std::max({wanted, capacity_ * 2, kLeast}));
  }

  // Makes it `count` elements long; new ones are zero. False when there is no memory; nothing changes then.
  [[nodiscard]] bool resize(std::size_t count) noexcept {
    if (!reserve(count)) return false;
    if (count > size_) std::memset(static_cast<void*>(data_ + size_), 0, (count - size_) * sizeof(T));
    size_ = count;
    return true;
  }

  // False when there is no memory; the element is not added then.
  [[nodiscard]] bool push_back(const T& value) noexcept {
    const T copy = value;  // `value` may lie in the array that is about to move
    if (!make_room(1)) return false;
    data_[size_++] = copy;
    return true;
  }

  T pop_back() noexcept { return data_[--size_]; }
  void clear() noexcept { size_ = 0; }
  void truncate(std::size_t count) noexcept { size_ = count < size_ ? count : size_; }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace arenascan::alloc
