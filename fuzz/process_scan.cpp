// What a ProcessModel knows of who is reached, and its scans.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <thread>

#include "api/arenascan/arena.h"
#include "fuzz/process_model.h"
#include "fuzz/require.h"

namespace arenascan::fuzz {

using trace::Record;

namespace {

// A thread that asks on behalf of another: who asks has a pointer itself, which does not count. It lives as long as the
// process, so that no stack comes or goes for it.
class Asker {
 public:
  void start() {
    std::thread([this] { work(); }).detach();
  }

  bool ask(const std::function<bool()>& question) {
    question_ = &question;
    pass(kAsked);
    turn_.wait(kAsked);
    return answer_;
  }

 private:
  enum Turn { kIdle, kAsked };

  void pass(int turn) {
    turn_ = turn;
    turn_.notify_one();
  }
  void work() {
    for (;;) {
      turn_.wait(kIdle);
      answer_ = (*question_)();
      ProcessModel::forget();
      pass(kIdle);
    }
  }

  const std::function<bool()>* question_ = nullptr;  // these two by who has the turn
  bool answer_ = false;
  std::atomic<int> turn_{kIdle};
};

Asker g_asker;

}  // namespace

void ProcessModel::start() { g_asker.start(); }

// The complement of the word that a record stores: into its target, or null.
std::uintptr_t ProcessModel::hidden_word_of(const Record& record) const {
  const Object& target = objects_[record.other % kObjects];
  if (record.other == 0 || target.hidden == 0) return ~std::uintptr_t{0};
  return target.hidden - (target.bytes == 0 ? 0 : record.high() % target.bytes);
}

// The number of the object that the word points to or into; kObjects: none.
std::size_t ProcessModel::find(std::uintptr_t hidden_word) const {
  const auto is_target = [hidden_word](const Object& object) {
    return object.hidden != 0 && object.hidden - hidden_word < std::max<std::size_t>(object.bytes, 1);
  };
  return static_cast<std::size_t>(std::find_if(objects_.begin(), objects_.end(), is_target) - objects_.begin());
}

ProcessModel::Touched ProcessModel::reached(const Touched& left_out) const {
  Touched reached{};
  std::array<std::size_t, kObjects> unread;
  std::size_t count = 0;
  const auto reach = [&](std::size_t number) {
    if (number == kObjects || reached[number] || left_out[number]) return;
    reached[number] = true;
    unread[count++] = number;
  };
  for (const volatile std::uintptr_t& root : g_roots) reach(find(~root));
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (objects_[i].hidden != 0 && (objects_[i].is_not_leak || objects_[i].is_ignored)) reach(i);
  }
  while (count != 0) {
    const Object& object = objects_[unread[--count]];
    if (object.is_no_scan || object.is_ignored) continue;
    for (const std::uintptr_t link : object.links) {
      if (link != 0) reach(find(link));
    }
  }
  return reached;
}

ProcessModel::Lost ProcessModel::count_lost(const Touched& reached) const {
  Lost lost;
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (objects_[i].hidden == 0 || reached[i]) continue;
    ++lost.objects;
    lost.bytes += objects_[i].bytes;
  }
  return lost;
}

// Whatever is touched may be lost at the instant of the scan, and so may one object for each thread that is being
// moved.
void ProcessModel::expect(const Touched& touched) {
  Touched kept = reached(touched);
  most_lost_ = kMovedMost;
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (touched[i]) kept[i] = true;
    most_lost_ += touched[i] ? 1 : 0;
  }
  most_lost_ += count_lost(kept).objects;
}

// By the record: with the world stopped or as it comes, by how many markers, told of its progress, cancelled.
void ProcessModel::scan(const Record& record) {
  const bool is_beside = !is_alone(record);
  const bool is_cancelled = (record.detail & 16U) != 0;
  arena_scan_options options{};
  options.size = sizeof(options);
  options.born_since = mark_;
  options.stop = record.detail & 1U;
  options.markers = record.detail / 2 % 4;
  options.second_look_ms = 1;
  if ((record.detail & 24U) != 0) {
    options.progress =
        is_cancelled ? [](const arena_progress*, void*) { return 1; } : [](const arena_progress*, void*) {
          std::free(std::malloc(100));
          return 0;
        };
  }
  arena_scan_result found{};
  found.size = sizeof(found);
  for (int attempt = 0; attempt < 8; ++attempt) {
    forget();
    errno = kErrno;
    require(arena_scan_ex(&options, &found) == 0 && errno == kErrno);
    if (is_cancelled && found.incomplete == ARENA_INCOMPLETE_CANCELLED) return require(found.leaked.objects == 0);
    require(found.incomplete == ARENA_COMPLETE);
    require(found.direct.objects + found.indirect.objects == found.leaked.objects);
    require(found.direct.bytes + found.indirect.bytes == found.leaked.bytes);
    require(found.reached.objects + found.orphans.objects == found.seen.objects || found.concurrent == 1);
    if (is_beside) return require(found.leaked.objects <= most_lost_);
    const Touched kept = reached({});
    const Lost lost = count_lost(kept);
    require(found.leaked.objects <= lost.objects && found.leaked.bytes <= lost.bytes);
    if (found.leaked.objects == lost.objects) return require(found.leaked.bytes == lost.bytes);
    if (g_asker.ask([&] { return is_held_by_old_word(kept); })) return;
  }
  std::fprintf(stderr, "lost, not told, and held by nothing; %zu told of\n",
               static_cast<std::size_t>(found.leaked.objects));
  const Touched kept = reached({});
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (objects_[i].hidden != 0 && !kept[i]) arena_dump(objects_[i].address(), 2);
  }
  require(false);
}

// Whether an old word on a stack or in a register keeps a lost object.
bool ProcessModel::is_held_by_old_word(const Touched& reached) const {
  static const int file = memfd_create("retainers", MFD_CLOEXEC);
  static std::array<char, 4096> text;
  for (std::size_t i = 0; i < kObjects; ++i) {
    if (objects_[i].hidden == 0 || reached[i]) continue;
    require(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    require(arena_retainers(objects_[i].address(), file) == 0);
    const ssize_t length = pread(file, text.data(), text.size(), 0);
    require(length > 0);
    const std::string_view told(text.data(), static_cast<std::size_t>(length));
    constexpr std::string_view kReached = "is reached from\n  ";
    const std::size_t at = told.find(kReached);
    if (at == std::string_view::npos) continue;
    const std::string_view from = told.substr(at + kReached.size());
    if (from.starts_with("the stack") || from.starts_with("a register")) return true;
    std::fprintf(stderr, "lost, and yet: %.*s", static_cast<int>(told.size()), told.data());
  }
  return false;
}

}  // namespace arenascan::fuzz
