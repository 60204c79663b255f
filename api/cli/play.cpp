// What the process that plays a trace does.
//
// Each thread of the trace is a thread here, and the order of all records is kept: whoever has the turn plays its
// records up to the next one of another thread, and passes it on. One byte in each page of an object is written, as its
// owner would have.
//
// Where objects lie is known only to a table whose words are no addresses (complemented), in memory of its own: a scan
// finds alive what the trace's stores and roots hold, and nothing else. The trace is read in its file, so what the
// library counts more than before are the trace's objects.
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <thread>
#include <vector>

#include "api/arenascan/arena.h"
#include "api/cli/commands.h"
#include "api/cli/record_file.h"
#include "api/trace/file.h"

namespace arenascan::cli {

using trace::Op;
using trace::Record;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kRoots = 1024;  // roots of a trace; numbers above are taken modulo

struct Object {
  std::uintptr_t hidden = 0;  // complement of its address; 0: none has this number
  std::size_t bytes = 0;
  Op made_by = Op::kMalloc;
  std::uint8_t alignment_bits = 0;
  [[nodiscard]] char* address() const { return reinterpret_cast<char*>(~hidden); }
};

struct Live {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
};

// Below the caller's frame lies what earlier calls have left; a later frame may have it in its holes, where a scan
// would find it. So would it in vector registers, which nobody clears.
[[gnu::noinline]] void wipe_what_calls_left() {
  char bytes[16384];
  std::memset(bytes, 0, sizeof(bytes));
  asm volatile(
      "pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n pxor %%xmm3, %%xmm3\n"
      "pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n"
      "pxor %%xmm8, %%xmm8\n pxor %%xmm9, %%xmm9\n pxor %%xmm10, %%xmm10\n pxor %%xmm11, %%xmm11\n"
      "pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n pxor %%xmm14, %%xmm14\n pxor %%xmm15, %%xmm15\n"
      :
      : "r"(bytes)
      : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
        "xmm12", "xmm13", "xmm14", "xmm15");
}

unsigned long long ull(std::uint64_t value) { return value; }

std::size_t resident_bytes() {
  char text[128]{};
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  const bool is_read = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0;
  if (fd >= 0) close(fd);
  unsigned long all = 0;
  unsigned long resident = 0;
  return is_read && std::sscanf(text, "%lu %lu", &all, &resident) == 2 ? resident * kPage : 0;
}

using Scan = int(const arena_scan_options*, arena_scan_result*);

class Player {
 public:
  explicit Player(const RecordFile& records)
      : records_(records), objects_(most_objects(records) + 1), roots_(kRoots), scan_(find<Scan>("arena_scan_ex")) {
    if (auto* const add_root = find<int(const void*, std::size_t)>("arena_add_root")) {
      add_root(roots_.data(), kRoots * sizeof(std::uintptr_t));
    }
    start_threads();
    const arena_scan_result now = scan();
    before_ = {now.seen.objects, now.seen.bytes};
    if (now.incomplete != ARENA_COMPLETE) why_uncounted_ = now.incomplete_why;
  }
  ~Player() { quit(); }
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;

  // Once. The calling thread is the trace's first.
  void play_all() {
    if (records_.size() == 0) return;
    pass_to(first_thread_);
    play_thread(first_thread_);
  }

  [[nodiscard]] Live live() const { return live_; }
  [[nodiscard]] Live peak() const { return peak_; }
  [[nodiscard]] std::uint64_t skipped() const { return skipped_; }
  [[nodiscard]] bool is_same() const { return is_same_; }  // all scans found what the trace says

  // What the library finds, where there is one. False when it is not what the trace says.
  bool print_scan(const char* when) {
    if (scan_ == nullptr) return true;
    const arena_scan_result result = scan();
    const Live found{result.seen.objects - before_.objects, result.seen.bytes - before_.bytes};
    std::printf("%s: %llu objects, %llu bytes; %zu leaked in %zu bytes", when, ull(found.objects), ull(found.bytes),
                static_cast<std::size_t>(result.leaked.objects), static_cast<std::size_t>(result.leaked.bytes));
    const char* const why = result.incomplete != ARENA_COMPLETE ? result.incomplete_why : why_uncounted_;
    if (why != nullptr) {
      std::printf("; incomplete%s: %s\n", why == why_uncounted_ ? ", as the count before was" : "", why);
      return true;
    }
    const bool is_same = found.objects == live_.objects && found.bytes == live_.bytes;
    std::printf(is_same ? ", as in the trace\n" : ", but the trace has %llu objects, %llu bytes\n", ull(live_.objects),
                ull(live_.bytes));
    return is_same;
  }

 private:
  template <typename Function>
  static Function* find(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
  }

  static std::size_t most_objects(const RecordFile& records) {
    std::uint32_t most = 0;
    for (std::size_t i = 0; i < records.size(); ++i) {
      const Record record = records[i];
      if (record.op != Op::kRoot) most = std::max(most, record.object);
      if (record.op != Op::kStart && record.op != Op::kCalloc) most = std::max(most, record.other);
    }
    return most;
  }

  void start_threads() {
    std::vector<bool> is_known(UINT16_MAX + 1);
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const std::uint16_t thread = records_[i].thread;
      if (i == 0) first_thread_ = thread;
      if (!is_known[thread] && thread != first_thread_) start_thread(thread);
      is_known[thread] = true;
    }
    // What starting them takes, and gives back at last, is none of the trace's.
    for (std::size_t started = started_; started < threads_.size(); started = started_) started_.wait(started);
  }

  // Where no thread can be had, those that there are quit first.
  void start_thread(std::uint16_t number) try {
    threads_.emplace_back(&Player::play_thread, this, number);
  } catch (...) {
    quit();
    throw;
  }

  void quit() {
    pass_to(kQuit);
    for (std::thread& thread : threads_) thread.join();
  }

  arena_scan_result scan() {
    arena_scan_result result{};
    result.size = sizeof(result);
    if (scan_ != nullptr) scan_(nullptr, &result);
    return result;
  }

  void pass_to(std::uint32_t thread) {
    turn_.store(thread, std::memory_order_release);
    turn_.notify_all();
  }

  // Plays when it is its turn. The first thread returns when all is played, the others when they are to quit.
  void play_thread(std::uint16_t self) {
    if (self != first_thread_) {
      ++started_;
      started_.notify_all();
    }
    for (;;) {
      const std::uint32_t turn = turn_.load(std::memory_order_acquire);
      if (turn == kQuit || (turn == kDone && self == first_thread_)) return;
      if (turn != self) {
        turn_.wait(turn, std::memory_order_acquire);
        continue;
      }
      Record record = records_[at_];
      while (record.thread == self) {
        play(record);
        if (++at_ == records_.size()) break;
        record = records_[at_];
      }
      wipe_what_calls_left();  // whoever has the turn may scan at once
      pass_to(at_ == records_.size() ? kDone : record.thread);
    }
  }

  // In frames of its own, so that no address stays behind in that of play_thread(), which lives on.
  [[gnu::noinline]] void play(const Record& record) {
    switch (record.op) {
      case Op::kMalloc:
      case Op::kCalloc:
      case Op::kMemalign:
      case Op::kNew:
      case Op::kNewArray: return make(record);
      case Op::kRealloc: return remake(record);
      case Op::kFree:
      case Op::kDelete:
      case Op::kDeleteArray: return release(record);
      case Op::kStore: return store(record);
      case Op::kRoot: roots_[record.object % kRoots] = word_of(record); return;
      case Op::kScan:
        wipe_what_calls_left();
        is_same_ = print_scan("scan") && is_same_;
        return;
      case Op::kNotLeak: return annotate(record, "arena_not_leak");
      case Op::kIgnore: return annotate(record, "arena_ignore");
      case Op::kNoScan: return annotate(record, "arena_no_scan");
      case Op::kDisable: return call("arena_disable");
      case Op::kEnable: return call("arena_enable");
      case Op::kStart:
      case Op::kEnd:
      case Op::kFork: return;
    }
  }

  static void* allocate(const Record& record) {
    const std::size_t alignment = record.alignment();
    switch (record.op) {
      case Op::kCalloc: return std::calloc(record.other, record.value);
      case Op::kMemalign: return memalign(alignment, record.value);
      case Op::kNew:
        return alignment == 1 ? operator new(record.value, std::nothrow) :
                              operator new(record.value, std::align_val_t(alignment), std::nothrow);
      case Op::kNewArray:
        return alignment == 1 ? operator new[](record.value, std::nothrow) :
                              operator new[](record.value, std::align_val_t(alignment), std::nothrow);
      default: return std::malloc(record.value);
    }
  }

  void make(const Record& record) {
    Object& object = objects_[record.object];
    if (object.hidden != 0) return skip();
    void* const p = allocate(record);
    if (p == nullptr) return skip();
    enter(object, p, record.op == Op::kCalloc ? record.other * record.value : record.value);
    object.made_by = record.op;
    object.alignment_bits = record.detail;
  }

  void remake(const Record& record) {
    Object& old = objects_[record.other];
    Object& object = objects_[record.object];
    if (&object != &old && object.hidden != 0) return skip();
    void* const p = std::realloc(record.other == 0 || old.hidden == 0 ? nullptr : old.address(), record.value);
    if (p == nullptr && record.value != 0) return skip();
    leave(old);
    if (p != nullptr) enter(object, p, record.value);
    object.made_by = Op::kMalloc;
  }

  void release(const Record& record) {
    Object& object = objects_[record.object];
    if (object.hidden == 0) return skip();
    char* const p = object.address();
    const auto alignment = std::align_val_t(std::size_t{1} << object.alignment_bits);
    const bool is_plain = object.alignment_bits == 0;
    const Op made_by = object.made_by;
    leave(object);
    if (made_by == Op::kNew) return is_plain ? operator delete(p) : operator delete(p, alignment);
    if (made_by == Op::kNewArray) return is_plain ? operator delete[](p) : operator delete[](p, alignment);
    std::free(p);
  }

  void enter(Object& object, void* p, std::size_t bytes) {
    object.hidden = ~reinterpret_cast<std::uintptr_t>(p);
    object.bytes = bytes;
    auto* const begin = static_cast<volatile char*>(p);
    for (std::size_t at = 0; at < bytes; at += kPage) begin[at] = 0;
    ++live_.objects;
    live_.bytes += bytes;
    if (live_.bytes > peak_.bytes) peak_ = live_;
  }

  void leave(Object& object) {
    if (object.hidden == 0) return;
    --live_.objects;
    live_.bytes -= object.bytes;
    object.hidden = 0;
  }

  void store(const Record& record) {
    const Object& into = objects_[record.object];
    if (into.hidden == 0 || record.low() + sizeof(std::uintptr_t) > into.bytes) return skip();
    const std::uintptr_t word = word_of(record);
    std::memcpy(into.address() + record.low(), &word, sizeof(word));
  }

  std::uintptr_t word_of(const Record& record) const {
    const Object& target = objects_[record.other];
    return record.other == 0 || target.hidden == 0 ? 0 : ~target.hidden + record.high();
  }

  void annotate(const Record& record, const char* name) {
    auto* const function = find<int(const void*)>(name);
    if (function != nullptr && objects_[record.object].hidden != 0) function(objects_[record.object].address());
  }
  static void call(const char* name) {
    if (auto* const function = find<void()>(name)) function();
  }

  void skip() { ++skipped_; }

  static constexpr std::uint32_t kNobody = UINT32_MAX;
  static constexpr std::uint32_t kDone = UINT32_MAX - 1;
  static constexpr std::uint32_t kQuit = UINT32_MAX - 2;

  const RecordFile& records_;
  Mapped<Object> objects_;
  Mapped<std::uintptr_t> roots_;
  Scan* scan_;
  Live before_;                          // what the library found before
  const char* why_uncounted_ = nullptr;  // why it could not tell, if so
  std::uint16_t first_thread_ = 0;
  std::vector<std::thread> threads_;
  std::atomic<std::size_t> started_{0};  // of them; each adds itself, the constructor waits for all

  // Whose turn it is, written by who has it: release, with all that was done; acquire by who waits for it.
  std::atomic<std::uint32_t> turn_{kNobody};
  std::size_t at_ = 0;  // this and the rest: who has the turn
  Live live_;
  Live peak_;
  std::uint64_t skipped_ = 0;
  bool is_same_ = true;
};

double mebibytes(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

int play(const std::string& file, const std::string& allocator) {
  static char output[4096];
  std::setvbuf(stdout, output, _IOFBF, sizeof(output));  // none of the heap's
  const RecordFile records(file);
  Player player(records);
  const std::size_t before = resident_bytes();
  const auto began = std::chrono::steady_clock::now();
  player.play_all();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  const std::size_t after = resident_bytes();
  const Live live = player.live();
  const Live peak = player.peak();
  std::printf("%s: %zu records in %.3f s, %.1f ns each\n", allocator.c_str(), records.size(), seconds.count(),
              seconds.count() * 1e9 / static_cast<double>(std::max<std::size_t>(records.size(), 1)));
  std::printf("live at the end: %llu objects, %.1f MiB; at the peak %llu objects, %.1f MiB\n", ull(live.objects),
              mebibytes(live.bytes), ull(peak.objects), mebibytes(peak.bytes));
  std::printf("resident at the end: %.1f MiB more than before\n", mebibytes(after - std::min(before, after)));
  if (player.skipped() != 0) {
    std::printf(
        "%llu records were left out: they speak of objects that there are not (or are already), or memory that was "
        "refused\n",
        ull(player.skipped()));
  }
  const bool is_same = player.print_scan("at the end") && player.is_same();
  std::fflush(stdout);
  return is_same ? 0 : 1;
}

}  // namespace arenascan::cli
