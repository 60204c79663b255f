// Preloaded into a program, in front of whatever allocator it has: writes down each call of malloc's and operator new's
// families (recording.h), into a file for each process image, "PREFIX.PID.N"; PREFIX is the value of ARENASCAN_RECORD.
//
// A function here calls the next one of its name and notes what came of it. What the next one calls on the way
// (operator new malloc) is not noted once more. Where records cannot be written, recording ends with a line that says
// why, and the program goes on.
//
// Threads: any. A thread claims blocks of the file and alone writes into them. In the child of a fork a new file
// begins, which knows nothing of the objects made before.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "api/trace/recording.h"

using arenascan::trace::kRawHeader;
using arenascan::trace::Op;
using arenascan::trace::RawRecord;

namespace {

constexpr std::size_t kBlockRecords = 2048;
constexpr std::size_t kBlockBytes = kBlockRecords * sizeof(RawRecord);
constexpr std::size_t kPathBytes = 4096;

struct Recorder {
  char prefix[kPathBytes] = {};                       // empty: nothing is recorded; written before there are threads
  char path[kPathBytes + 32] = {};                    // of the file; written under `mutex`
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // one thread claims a block at a time
  std::uint64_t blocks = 0;                           // claimed; under `mutex`

  // Set by the thread that meets the failure, read by all. Relaxed: a record more or less is lost anyway.
  std::atomic<bool> has_stopped{false};
  std::atomic<std::uint64_t> sequence{0};  // the last one given; any thread, seq_cst: its order is what is recorded
  std::atomic<std::uint32_t> threads{0};   // numbers given; any thread, relaxed: only a counter
  std::atomic<std::uint32_t> epoch{0};     // raised in a child while it has one thread; read by every record, relaxed
};
constinit Recorder g_recorder;
pthread_key_t g_key;

struct ThreadBlock {
  RawRecord* next = nullptr;
  RawRecord* end = nullptr;
  std::uint32_t epoch = 0;
  std::uint16_t number = 0;
  bool inside = false;   // of a call that is noted: what it calls is not
  bool looking = false;  // for a next function
};
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadBlock t_block;

bool stop(const char* why) {
  const int error = errno;
  if (g_recorder.has_stopped.exchange(true, std::memory_order_relaxed)) return false;
  char line[kPathBytes + 256];
  const int length = std::snprintf(line, sizeof(line), "arenascan: recording to %s ends: %s: %s\n", g_recorder.path,
                                   why, std::strerror(error));
  if (length > 0) static_cast<void>(!write(STDERR_FILENO, line, static_cast<std::size_t>(length)));
  return false;
}

// The file of this process image, made when the first block is claimed: exec keeps the number of the process, so there
// may be one already. It is opened for each block anew, since programs close descriptors that they do not know.
int open_file() {
  if (g_recorder.blocks != 0) return open(g_recorder.path, O_RDWR | O_CLOEXEC);
  for (unsigned image = 0;; ++image) {
    std::snprintf(g_recorder.path, sizeof(g_recorder.path), "%s.%d.%u", g_recorder.prefix, getpid(), image);
    const int fd = open(g_recorder.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

// A block of the file, in memory. It gets its room on the disk first, so that a full disk is an error here and no
// SIGBUS later.
bool claim_block_locked(ThreadBlock& block) {
  const int fd = open_file();
  if (fd < 0) return stop("it cannot be opened");
  const auto begin = static_cast<off_t>(sizeof(kRawHeader) + g_recorder.blocks * kBlockBytes);
  void* memory = MAP_FAILED;
  errno = posix_fallocate(fd, begin, kBlockBytes);
  if (errno == 0 && (g_recorder.blocks != 0 ||
                     pwrite(fd, &kRawHeader, sizeof(kRawHeader), 0) == static_cast<ssize_t>(sizeof(kRawHeader)))) {
    memory = mmap(nullptr, kBlockBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, begin);
  }
  const int error = errno;
  close(fd);
  errno = error;
  if (memory == MAP_FAILED) return stop("no room for more records");
  ++g_recorder.blocks;
  if (block.end != nullptr) munmap(block.end - kBlockRecords, kBlockBytes);
  block.next = static_cast<RawRecord*>(memory);
  block.end = block.next + kBlockRecords;
  return true;
}

bool claim_block(ThreadBlock& block) {
  pthread_mutex_lock(&g_recorder.mutex);
  const bool claimed = claim_block_locked(block);
  pthread_mutex_unlock(&g_recorder.mutex);
  return claimed;
}

void note(Op op, std::uint64_t address, std::uint64_t value = 0, std::uint32_t count = 0, std::uint8_t detail = 0) {
  ThreadBlock& block = t_block;
  if (g_recorder.prefix[0] == 0 || g_recorder.has_stopped.load(std::memory_order_relaxed)) return;
  const int saved_errno = errno;
  if (const std::uint32_t epoch = g_recorder.epoch.load(std::memory_order_relaxed); block.epoch != epoch) {
    block = {nullptr, nullptr, epoch, 0, block.inside, block.looking};  // the blocks it had are the parent's
  }
  if (block.number == 0) {
    block.number = static_cast<std::uint16_t>(g_recorder.threads.fetch_add(1, std::memory_order_relaxed) + 1);
    pthread_setspecific(g_key, &block);
  }
  if (block.next != block.end || claim_block(block)) {
    *block.next++ = {g_recorder.sequence.fetch_add(1) + 1, address, value, count, block.number,
                     static_cast<std::uint8_t>(op),        detail};
  }
  errno = saved_errno;
}

// A thread may allocate behind this; its records then follow its end.
void note_thread_end(void*) {
  const bool was_inside = std::exchange(t_block.inside, true);
  note(Op::kEnd, 0);
  t_block.inside = was_inside;
}

void begin_child() {
  pthread_mutex_unlock(&g_recorder.mutex);
  g_recorder.blocks = 0;
  g_recorder.sequence = 0;
  g_recorder.threads = 0;
  g_recorder.epoch.fetch_add(1, std::memory_order_relaxed);
}

// Before the C library's own constructor, which lets getenv know of the environment: the loader passes it on.
[[gnu::constructor(101)]] void begin(int, char**, char** environment) {
  pthread_key_create(&g_key, note_thread_end);
  pthread_atfork([] { pthread_mutex_lock(&g_recorder.mutex); },
                 [] {
                   pthread_mutex_unlock(&g_recorder.mutex);
                   note(Op::kFork, 0);
                 },
                 begin_child);
  constexpr std::string_view kVariable = "ARENASCAN_RECORD=";
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    if (entry.starts_with(kVariable) && entry.size() - kVariable.size() < sizeof(g_recorder.prefix)) {
      std::memcpy(g_recorder.prefix, entry.data() + kVariable.size(), entry.size() - kVariable.size());
    }
  }
}

// What dlsym itself allocates; never given back.
alignas(16) constinit char g_early[4096];
void* take_early(std::size_t bytes) {
  static constinit std::atomic<std::size_t> used{0};  // any thread, relaxed: only a counter
  const std::size_t wanted = (bytes + 15) / 16 * 16;
  const std::size_t begin = used.fetch_add(wanted, std::memory_order_relaxed);
  return wanted <= sizeof(g_early) && begin <= sizeof(g_early) - wanted ? g_early + begin : nullptr;
}
bool is_early(const void* p) { return p >= g_early && p < g_early + sizeof(g_early); }

// The function of that name behind ours. A C++ library that was opened by a module for itself alone is none of those
// that the loader goes through.
template <typename Function>
Function* next_function(const char* name) {
  t_block.looking = true;
  void* found = dlsym(RTLD_NEXT, name);
  for (const char* const library : {"libstdc++.so.6", "libc++.so.1"}) {
    void* const handle = found == nullptr ? dlopen(library, RTLD_LAZY | RTLD_NOLOAD) : nullptr;
    if (handle != nullptr) found = dlsym(handle, name);
  }
  t_block.looking = false;
  if (found == nullptr) {
    std::fprintf(stderr, "arenascan: record: no %s to pass on to\n", name);
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}

// Whether this call is to be noted; until the end of the scope, calls from inside are not.
class Outermost {
 public:
  Outermost() : is_outermost_(!t_block.inside) { t_block.inside = true; }
  ~Outermost() {
    if (is_outermost_) t_block.inside = false;
  }
  Outermost(const Outermost&) = delete;
  Outermost& operator=(const Outermost&) = delete;
  explicit operator bool() const { return is_outermost_; }

 private:
  bool is_outermost_;
};

std::uint64_t number(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
std::uint8_t bits(std::size_t alignment) {
  return alignment == 0 ? 0 : static_cast<std::uint8_t>(std::countr_zero(alignment));
}

}  // namespace

// The next function of a name, looked for once.
#define NEXT(name, type) static auto* const next = next_function<type>(#name)

extern "C" {

void* malloc(std::size_t bytes) {
  if (t_block.looking) return take_early(bytes);
  NEXT(malloc, void*(std::size_t));
  const Outermost outermost;
  void* const p = next(bytes);
  if (outermost) note(Op::kMalloc, number(p), bytes);
  return p;
}

void* calloc(std::size_t count, std::size_t bytes) {
  if (t_block.looking) return take_early(count * bytes);
  NEXT(calloc, void*(std::size_t, std::size_t));
  const Outermost outermost;
  void* const p = next(count, bytes);
  const bool is_short = count <= UINT32_MAX;
  if (outermost)
    note(Op::kCalloc, number(p), is_short ? bytes : count * bytes, is_short ? static_cast<std::uint32_t>(count) : 1);
  return p;
}

void* realloc(void* old, std::size_t bytes) {
  if (t_block.looking) return take_early(bytes);
  NEXT(realloc, void*(void*, std::size_t));
  const Outermost outermost;
  if (outermost) note(Op::kRealloc, number(old));
  void* const p = next(old, bytes);
  if (outermost) note(Op::kRealloc, number(p), bytes, 0, 1);
  return p;
}

void* reallocarray(void* old, std::size_t count, std::size_t bytes) {
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(old, all);
}

void free(void* p) {
  if (is_early(p) || t_block.looking) return;
  NEXT(free, void(void*));
  const Outermost outermost;
  if (outermost && p != nullptr) note(Op::kFree, number(p));
  next(p);
}

int posix_memalign(void** p, std::size_t alignment, std::size_t bytes) {
  NEXT(posix_memalign, int(void**, std::size_t, std::size_t));
  const Outermost outermost;
  const int error = next(p, alignment, bytes);
  if (outermost && error == 0) note(Op::kMemalign, number(*p), bytes, 0, bits(alignment));
  return error;
}

#define ALIGNED(name)                                                         \
  void* name(std::size_t alignment, std::size_t bytes) {                      \
    NEXT(name, void*(std::size_t, std::size_t));                              \
    const Outermost outermost;                                                \
    void* const p = next(alignment, bytes);                                   \
    if (outermost) note(Op::kMemalign, number(p), bytes, 0, bits(alignment)); \
    return p;                                                                 \
  }
ALIGNED(memalign)
ALIGNED(aligned_alloc)

#define PAGES(name)                                              \
  void* name(std::size_t bytes) {                                \
    NEXT(name, void*(std::size_t));                              \
    const Outermost outermost;                                   \
    void* const p = next(bytes);                                 \
    if (outermost) note(Op::kMemalign, number(p), bytes, 0, 12); \
    return p;                                                    \
  }
PAGES(valloc)
PAGES(pvalloc)

// operator new and delete under their linker names, so that each passes on to its own next one.
// NOLINTBEGIN(bugprone-macro-parentheses): these are lists of parameters and arguments
#define NEW(name, op, parameters, arguments, alignment)            \
  void* name parameters {                                          \
    NEXT(name, void* parameters);                                  \
    const Outermost outermost;                                     \
    void* const p = next arguments;                                \
    if (outermost) note(op, number(p), bytes, 0, bits(alignment)); \
    return p;                                                      \
  }
NEW(_Znwm, Op::kNew, (std::size_t bytes), (bytes), 1)
NEW(_Znam, Op::kNewArray, (std::size_t bytes), (bytes), 1)
NEW(_ZnwmRKSt9nothrow_t, Op::kNew, (std::size_t bytes, const void* t), (bytes, t), 1)
NEW(_ZnamRKSt9nothrow_t, Op::kNewArray, (std::size_t bytes, const void* t), (bytes, t), 1)
NEW(_ZnwmSt11align_val_t, Op::kNew, (std::size_t bytes, std::size_t a), (bytes, a), a)
NEW(_ZnamSt11align_val_t, Op::kNewArray, (std::size_t bytes, std::size_t a), (bytes, a), a)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, Op::kNew, (std::size_t bytes, std::size_t a, const void* t), (bytes, a, t), a)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, Op::kNewArray, (std::size_t bytes, std::size_t a, const void* t), (bytes, a, t),
    a)

#define DELETE(name, op, parameters, arguments)         \
  void name parameters {                                \
    NEXT(name, void parameters);                        \
    const Outermost outermost;                          \
    if (outermost && p != nullptr) note(op, number(p)); \
    next arguments;                                     \
  }
DELETE(_ZdlPv, Op::kDelete, (void* p), (p))
DELETE(_ZdaPv, Op::kDeleteArray, (void* p), (p))
DELETE(_ZdlPvm, Op::kDelete, (void* p, std::size_t n), (p, n))
DELETE(_ZdaPvm, Op::kDeleteArray, (void* p, std::size_t n), (p, n))
DELETE(_ZdlPvRKSt9nothrow_t, Op::kDelete, (void* p, const void* t), (p, t))
DELETE(_ZdaPvRKSt9nothrow_t, Op::kDeleteArray, (void* p, const void* t), (p, t))
DELETE(_ZdlPvSt11align_val_t, Op::kDelete, (void* p, std::size_t a), (p, a))
DELETE(_ZdaPvSt11align_val_t, Op::kDeleteArray, (void* p, std::size_t a), (p, a))
DELETE(_ZdlPvmSt11align_val_t, Op::kDelete, (void* p, std::size_t n, std::size_t a), (p, n, a))
DELETE(_ZdaPvmSt11align_val_t, Op::kDeleteArray, (void* p, std::size_t n, std::size_t a), (p, n, a))
// NOLINTEND(bugprone-macro-parentheses)

}  // extern "C"
