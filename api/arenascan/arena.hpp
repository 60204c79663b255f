// arenascan for C++20: scans as values, scopes for tests, private heaps for containers. See arena.h for what each does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <stdexcept>

#include "arenascan/arena.h"

namespace arena {

// What a scan found: the C result with a few questions it can answer.
struct report : arena_scan_result {
  [[nodiscard]] bool complete() const noexcept { return incomplete == ARENA_COMPLETE; }
  [[nodiscard]] bool has_leaks() const noexcept { return leaked.objects != 0; }

  // Writes the report of the process's last scan as text.
  static bool print(int fd) noexcept { return arena_report(fd, "text") == 0; }
};

// Scans now. Thread-safe.
inline report scan() noexcept {
  report found{};
  found.size = sizeof(arena_scan_result);
  arena_scan_ex(nullptr, &found);
  return found;
}

// Counts only what leaked since it began: for tests.
//
//   arena::leak_scope scope;
//   run_the_code();
//   CHECK(scope.leaks() == 0);
class leak_scope {
 public:
  leak_scope() noexcept : begin_(arena_mark()) {}

  [[nodiscard]] report scan() const noexcept {
    arena_scan_options options{};
    options.size = sizeof(options);
    options.born_since = begin_;
    report found{};
    found.size = sizeof(arena_scan_result);
    arena_scan_ex(&options, &found);
    return found;
  }

  // Number of leaked objects. Throws std::runtime_error when the scan was incomplete, so that no test passes by it.
  [[nodiscard]] std::size_t leaks() const {
    const report found = scan();
    if (!found.complete()) throw std::runtime_error(found.incomplete_why);
    return found.leaked.objects;
  }

 private:
  std::uint32_t begin_;
};

// What the current thread allocates during its life is never a leak.
class disable_scope {
 public:
  disable_scope() noexcept { arena_disable(); }
  ~disable_scope() { arena_enable(); }
  disable_scope(const disable_scope&) = delete;
  disable_scope& operator=(const disable_scope&) = delete;
};

// A private heap. Movable, not copyable; one thread at a time.
class heap {
 public:
  // Throws std::bad_alloc when the address space cannot be reserved.
  explicit heap(std::size_t max_bytes = 0) : heap_(arena_heap_create(max_bytes)) {
    if (heap_ == nullptr) throw std::bad_alloc();
  }
  heap(heap&& other) noexcept : heap_(other.heap_) { other.heap_ = nullptr; }
  heap& operator=(heap&& other) noexcept {
    arena_heap* const mine = heap_;
    heap_ = other.heap_;
    other.heap_ = mine;
    return *this;
  }
  ~heap() {
    if (heap_ != nullptr) arena_heap_destroy(heap_);
  }

  [[nodiscard]] void* allocate(std::size_t bytes) {
    void* const block = arena_heap_alloc(heap_, bytes);
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }
  void deallocate(void* block) noexcept { arena_heap_free(heap_, block); }
  void add_root(const void* begin, std::size_t bytes) {
    if (arena_heap_add_root(heap_, begin, bytes) != 0) throw std::bad_alloc();
  }
  bool remove_root(const void* begin, std::size_t bytes) noexcept {
    return arena_heap_remove_root(heap_, begin, bytes) == 0;
  }
  [[nodiscard]] report scan() noexcept {
    report found{};
    found.size = sizeof(arena_scan_result);
    arena_heap_scan(heap_, &found);
    return found;
  }
  [[nodiscard]] arena_heap* handle() const noexcept { return heap_; }

 private:
  arena_heap* heap_;
};

// A private heap behind the standard containers. The heap outlives the allocator and everything it gave out.
template <typename T>
class allocator {
 public:
  using value_type = T;
  explicit allocator(heap& from) noexcept : heap_(&from) {}
  template <typename U>
  allocator(const allocator<U>& other) noexcept : heap_(other.source()) {}

  [[nodiscard]] T* allocate(std::size_t count) {
    static_assert(alignof(T) <= 16, "private heaps align to 16 bytes");
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(heap_->allocate(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t) noexcept { heap_->deallocate(block); }
  [[nodiscard]] heap* source() const noexcept { return heap_; }

  template <typename U>
  friend bool operator==(const allocator& a, const allocator<U>& b) noexcept {
    return a.source() == b.source();
  }

 private:
  heap* heap_;
};

class memory_resource : public std::pmr::memory_resource {
 public:
  explicit memory_resource(heap& from) noexcept : heap_(&from) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (alignment > 16) throw std::bad_alloc();
    return heap_->allocate(bytes);
  }
  void do_deallocate(void* block, std::size_t, std::size_t) override { heap_->deallocate(block); }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    const auto* const same = dynamic_cast<const memory_resource*>(&other);
    return same != nullptr && same->heap_ == heap_;
  }

  heap* heap_;
};

}  // namespace arena
