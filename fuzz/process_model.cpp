#include "fuzz/process_model.h"

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "api/arenascan/arena.h"
#include "fuzz/require.h"

namespace arenascan::fuzz {

using trace::Op;
using trace::Record;

namespace {

constexpr std::size_t kWordBytes = sizeof(std::uintptr_t);
constexpr int kErrno = ProcessModel::kErrno;

// Compilers know malloc and its kin: behind these pointers they do not.
void* (*volatile do_malloc)(std::size_t) = std::malloc;
void* (*volatile do_calloc)(std::size_t, std::size_t) = std::calloc;
void* (*volatile do_realloc)(void*, std::size_t) = std::realloc;
void* (*volatile do_reallocarray)(void*, std::size_t, std::size_t) = reallocarray;
void* (*volatile do_memalign)(std::size_t, std::size_t) = memalign;
void* (*volatile do_aligned_alloc)(std::size_t, std::size_t) = std::aligned_alloc;
int (*volatile do_posix_memalign)(void**, std::size_t, std::size_t) = posix_memalign;
void (*volatile do_free)(void*) = std::free;
void (*volatile do_delete)(void*) = operator delete;
void (*volatile do_delete_array)(void*) = operator delete[];
void (*volatile do_delete_aligned)(void*, std::align_val_t) = operator delete;
void (*volatile do_delete_array_aligned)(void*, std::align_val_t) = operator delete[];

thread_local unsigned t_disabled = 0;

// What nobody can have stays; other large sizes shrink.
bool is_impossible(std::size_t bytes) { return bytes >> 47 != 0; }
std::size_t size_of(std::uint64_t value) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 20;
  return value <= kMost || is_impossible(value) ? value : (value >> 8) % 512;
}
std::size_t alignment_of(const Record& record) {
  constexpr unsigned kMostBits = 16;
  return std::size_t{1} << (record.detail <= kMostBits ? record.detail : record.detail % 8);
}

std::size_t links_of(std::size_t bytes, std::size_t most) { return std::min(bytes / kWordBytes, most); }

// Aligned, by one of the three functions; which alignments each of them takes.
void* request_aligned(const Record& record, std::size_t bytes) {
  const std::size_t alignment = alignment_of(record);
  if (record.other % 3 == 0) return do_memalign(alignment, bytes);
  if (record.other % 3 == 1) return do_aligned_alloc(alignment, bytes);
  void* got = nullptr;
  const int status = do_posix_memalign(&got, alignment, bytes);
  require(errno == kErrno);
  if (alignment < kWordBytes) {
    require(status == EINVAL && got == nullptr);
    return do_malloc(bytes);
  }
  require(status == (got == nullptr ? ENOMEM : 0));
  errno = status == 0 ? kErrno : status;
  return got;
}

template <typename Make>
void* or_null(Make&& make) {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void* request_new(const Record& record, std::size_t bytes) {
  const std::size_t alignment = alignment_of(record);
  const auto aligned = std::align_val_t(alignment);
  const bool throws = record.other % 2 == 0;
  if (record.op == Op::kNew) {
    if (alignment == 1)
      return throws ? or_null([&] { return operator new(bytes); }) : operator new(bytes, std::nothrow);
    return throws ? or_null([&] { return operator new(bytes, aligned); }) : operator new(bytes, aligned, std::nothrow);
  }
  if (alignment == 1) {
    return throws ? or_null([&] { return operator new[](bytes); }) : operator new[](bytes, std::nothrow);
  }
  return throws ? or_null([&] { return operator new[](bytes, aligned); }) :
                operator new[](bytes, aligned, std::nothrow);
}

}  // namespace

void ProcessModel::begin() {
  arena_scan_result now{};
  now.size = sizeof(now);
  mark_ = arena_mark();
  require(arena_scan_ex(nullptr, &now) == 0);
  objects_before_ = now.seen.objects;
  bytes_before_ = now.seen.bytes;
  has_forked_ = false;
}

void ProcessModel::finish() {
  for (volatile std::uintptr_t& root : g_roots) root = 0;
  for (Object& object : objects_) release(object);
  for (; t_disabled != 0; --t_disabled) arena_enable();
  forget();
  arena_scan_options options{};
  options.size = sizeof(options);
  options.born_since = mark_;
  arena_scan_result found{};
  found.size = sizeof(found);
  require(arena_scan_ex(&options, &found) == 0 && found.incomplete == ARENA_COMPLETE);
  require(found.leaked.objects == 0);
  require(found.seen.objects <= objects_before_ && found.seen.bytes <= bytes_before_);
}

[[gnu::noinline]] void ProcessModel::forget() {
  arena_scrub_stack();
  static const bool has_wide = __builtin_cpu_supports("avx512f");
  if (has_wide) {
    asm volatile(
        "vpxorq %%zmm16, %%zmm16, %%zmm16\n vpxorq %%zmm17, %%zmm17, %%zmm17\n vpxorq %%zmm18, %%zmm18, %%zmm18\n"
        "vpxorq %%zmm19, %%zmm19, %%zmm19\n vpxorq %%zmm20, %%zmm20, %%zmm20\n vpxorq %%zmm21, %%zmm21, %%zmm21\n"
        "vpxorq %%zmm22, %%zmm22, %%zmm22\n vpxorq %%zmm23, %%zmm23, %%zmm23\n vpxorq %%zmm24, %%zmm24, %%zmm24\n"
        "vpxorq %%zmm25, %%zmm25, %%zmm25\n vpxorq %%zmm26, %%zmm26, %%zmm26\n vpxorq %%zmm27, %%zmm27, %%zmm27\n"
        "vpxorq %%zmm28, %%zmm28, %%zmm28\n vpxorq %%zmm29, %%zmm29, %%zmm29\n vpxorq %%zmm30, %%zmm30, %%zmm30\n"
        "vpxorq %%zmm31, %%zmm31, %%zmm31\n vzeroall" ::
            : "memory");
  }
  asm volatile(
      "pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n pxor %%xmm3, %%xmm3\n"
      "pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n"
      "pxor %%xmm8, %%xmm8\n pxor %%xmm9, %%xmm9\n pxor %%xmm10, %%xmm10\n pxor %%xmm11, %%xmm11\n"
      "pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n pxor %%xmm14, %%xmm14\n pxor %%xmm15, %%xmm15\n"
      "xor %%eax, %%eax\n xor %%ecx, %%ecx\n xor %%edx, %%edx\n xor %%esi, %%esi\n xor %%edi, %%edi\n"
      "xor %%r8d, %%r8d\n xor %%r9d, %%r9d\n xor %%r10d, %%r10d\n xor %%r11d, %%r11d\n" ::
          : "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
            "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

bool ProcessModel::is_alone(const Record& record) {
  const bool is_scan_beside = record.op == Op::kScan && record.other % 2 == 1;
  return record.op == Op::kRoot || record.op == Op::kFork || (record.op == Op::kScan && !is_scan_beside);
}

// In frames of its own, so that no address stays behind in those that live on.
[[gnu::noinline]] void ProcessModel::play(const Record& record) {
  switch (record.op) {
    case Op::kMalloc:
    case Op::kCalloc:
    case Op::kMemalign:
    case Op::kNew:
    case Op::kNewArray: return allocate(record);
    case Op::kRealloc: return resize(record);
    case Op::kFree:
    case Op::kDelete:
    case Op::kDeleteArray: return release(objects_[record.object % kObjects]);
    case Op::kStore: return store(record);
    case Op::kRoot: g_roots[record.object % kRoots] = ~hidden_word_of(record); return;
    case Op::kScan: return scan(record);
    case Op::kNotLeak:
    case Op::kIgnore:
    case Op::kNoScan: return annotate(record);
    case Op::kDisable: ++t_disabled; return arena_disable();
    case Op::kEnable:
      if (t_disabled == 0) return;
      --t_disabled;
      return arena_enable();
    case Op::kFork:
      if (!std::exchange(has_forked_, true)) fork_child();
      return;
    case Op::kStart:
    case Op::kEnd: return;
  }
}

void ProcessModel::allocate(const Record& record) {
  Object& made = objects_[record.object % kObjects];
  std::size_t bytes = size_of(record.value);
  const bool fails = is_impossible(bytes);
  if (made.hidden != 0 || (!fails && bytes_ + bytes > kMostBytes)) return;
  const bool is_new = record.op == Op::kNew || record.op == Op::kNewArray;
  errno = kErrno;
  void* got = nullptr;
  std::size_t alignment = 1;
  if (record.op == Op::kMalloc) {
    got = do_malloc(bytes);
  } else if (record.op == Op::kCalloc) {
    const std::size_t count = 1 + record.other % 64;
    const std::size_t each = fails ? bytes : bytes / count;
    got = do_calloc(count, each);
    bytes = count * each;
    if (got != nullptr) {
      const auto* const first = static_cast<const char*>(got);
      require(std::all_of(first, first + bytes, [](char c) { return c == 0; }));
    }
  } else {
    alignment = alignment_of(record);
    got = is_new ? request_new(record, bytes) : request_aligned(record, bytes);
  }
  require((got == nullptr) == fails);
  if (fails) return require(is_new || errno == ENOMEM);
  require(errno == kErrno);
  made.alignment = is_new ? alignment : 1;
  made.family = record.op == Op::kNew ? Family::kNew : is_new ? Family::kNewArray : Family::kMalloc;
  made.is_not_leak = t_disabled != 0;
  require(reinterpret_cast<std::uintptr_t>(got) % std::max(alignment, std::size_t{16}) == 0);
  enter(made, static_cast<std::uint8_t*>(got), bytes);
  fill(made);
}

// Memory of malloc and its kin, by realloc or reallocarray: what was in it stays, as far as it reaches.
void ProcessModel::resize(const Record& record) {
  Object& old = objects_[record.other % kObjects];
  Object& made = objects_[record.object % kObjects];
  const std::size_t bytes = size_of(record.value);
  const bool fails = is_impossible(bytes);
  if (old.family != Family::kMalloc || (&made != &old && made.hidden != 0)) return;
  if (!fails && bytes_ + bytes > kMostBytes) return;
  Object from = old;
  check(from, from.bytes);
  constexpr std::uintptr_t kComplement = ~std::uintptr_t{0};
  if (from.hidden != 0) write_links(from, kComplement);
  std::uint8_t* const before = from.hidden == 0 ? nullptr : from.address();
  errno = kErrno;
  void* const got = record.detail % 2 == 0 ? do_realloc(before, bytes) : do_reallocarray(before, 1, bytes);
  if (fails) {
    require(got == nullptr && errno == ENOMEM);
    check(from, from.bytes, kComplement);
    if (from.hidden != 0) write_links(from, 0);
    return;
  }
  require(errno == kErrno);
  leave(old);
  if (got == nullptr) return require(before != nullptr && bytes == 0);
  const bool has_moved = got != before;
  made.is_not_leak = has_moved ? t_disabled != 0 : from.is_not_leak;
  made.is_ignored = !has_moved && from.is_ignored;
  made.is_no_scan = !has_moved && from.is_no_scan;
  enter(made, static_cast<std::uint8_t*>(got), bytes);
  from.hidden = made.hidden;
  check(from, std::min(from.bytes, bytes), kComplement);
  std::copy_n(from.links.begin(), links_of(std::min(from.bytes, bytes), kLinks), made.links.begin());
  fill(made);
}

void ProcessModel::release(Object& object) {
  if (object.hidden == 0) return;
  check(object, object.bytes);
  object.links = {};
  write_links(object, 0);
  void* const p = object.address();
  const Family family = object.family;
  const std::size_t alignment = object.alignment;
  leave(object);
  errno = kErrno;
  const auto aligned = std::align_val_t(alignment);
  switch (family) {
    case Family::kMalloc: do_free(p); break;
    case Family::kNew: alignment == 1 ? do_delete(p) : do_delete_aligned(p, aligned); break;
    case Family::kNewArray: alignment == 1 ? do_delete_array(p) : do_delete_array_aligned(p, aligned); break;
  }
  require(errno == kErrno);
}

void ProcessModel::store(const Record& record) {
  Object& into = objects_[record.object % kObjects];
  const std::size_t links = links_of(into.bytes, kLinks);
  if (into.hidden == 0 || links == 0) return;
  const std::size_t position = record.low() % links;
  const std::uintptr_t hidden = hidden_word_of(record);
  const std::uintptr_t word = ~hidden;
  into.links[position] = hidden == ~std::uintptr_t{0} ? 0 : hidden;
  std::memcpy(into.address() + position * kWordBytes, &word, kWordBytes);
}

void ProcessModel::annotate(const Record& record) {
  Object& object = objects_[record.object % kObjects];
  const auto function = record.op == Op::kNotLeak  ? arena_not_leak
                        : record.op == Op::kIgnore ? arena_ignore
                                                   : arena_no_scan;
  errno = kErrno;
  if (object.hidden == 0) {
    require(function(&object) == -1 && errno == EINVAL);
    return;
  }
  require(function(object.address() + (object.bytes == 0 ? 0 : record.low() % object.bytes)) == 0 && errno == kErrno);
  object.is_not_leak |= record.op == Op::kNotLeak;
  object.is_ignored |= record.op == Op::kIgnore;
  object.is_no_scan |= record.op == Op::kNoScan;
}

// What was there before is never lost in the child; it allocates, frees and scans as ever.
void ProcessModel::fork_child() {
  const pid_t child = fork();
  require(child != -1);
  if (child == 0) {
    const std::uint32_t mark = arena_mark();
    void* const kept = do_malloc(100);
    for (std::size_t bytes = 1; bytes < 100'000; bytes *= 3) do_free(do_calloc(1, bytes));
    arena_scan_options options{};
    options.size = sizeof(options);
    options.born_since = mark;
    arena_scan_result found{};
    found.size = sizeof(found);
    require(arena_scan_ex(&options, &found) == 0 && found.incomplete == ARENA_COMPLETE && found.leaked.objects == 0);
    do_free(kept);
    _exit(0);
  }
  int status = 0;
  require(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void ProcessModel::enter(Object& object, std::uint8_t* address, std::size_t bytes) {
  require(malloc_usable_size(address) == bytes);
  object.hidden = ~reinterpret_cast<std::uintptr_t>(address);
  object.bytes = bytes;
  // No words of these are addresses.
  object.fill = static_cast<std::uint8_t>(0x80U | static_cast<std::size_t>(&object - objects_.data()));
  bytes_ += bytes;
}

void ProcessModel::leave(Object& object) {
  bytes_ -= object.bytes;
  object = {};
}

void ProcessModel::fill(const Object& object) {
  write_links(object, 0);
  const std::size_t links = links_of(object.bytes, kLinks);
  std::memset(object.address() + links * kWordBytes, object.fill, object.bytes - links * kWordBytes);
}

void ProcessModel::write_links(const Object& object, std::uintptr_t mask) {
  for (std::size_t i = 0; i < links_of(object.bytes, kLinks); ++i) {
    const std::uintptr_t word = object.links[i] == 0 ? 0 : ~object.links[i] ^ mask;
    std::memcpy(object.address() + i * kWordBytes, &word, kWordBytes);
  }
}

// The first `bytes` of what is in the object.
void ProcessModel::check(const Object& object, std::size_t bytes, std::uintptr_t mask) {
  if (object.hidden == 0) return;
  const std::size_t links = links_of(object.bytes, kLinks);
  for (std::size_t i = 0; i < links_of(bytes, links); ++i) {
    const std::uintptr_t word = object.links[i] == 0 ? 0 : ~object.links[i] ^ mask;
    require(std::memcmp(object.address() + i * kWordBytes, &word, kWordBytes) == 0);
  }
  for (std::size_t at = links * kWordBytes; at < bytes; ++at) require(object.address()[at] == object.fill);
}

}  // namespace arenascan::fuzz
