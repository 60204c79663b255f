// Bytes as an allocation trace, played by the process's own malloc and operator new, each thread of the trace by one
// that starts with its first record and ends with `end` or the input; against process_model.h. Records are played in
// rounds, as threads_fuzzer does: as many as follow each other without touching an object that another thread of the
// round touches.
//
// The library is linked whole: what libFuzzer itself allocates lies in the same heap.
#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "api/arenascan/arena.h"
#include "fuzz/process_model.h"
#include "fuzz/records.h"

using namespace arenascan;

extern "C" const char* arena_default_options() { return "at_exit=0"; }

namespace {

constexpr std::size_t kThreads = 4;  // the first of them is the one that is given the input

// The records of one thread in a round, and the thread. All in static memory: nothing that is allocated for it counts.
class Player {
 public:
  void add(const trace::Record& record) { records_[count_++] = record; }
  [[nodiscard]] bool is_full() const { return count_ == records_.size(); }
  [[nodiscard]] bool is_idle() const { return count_ == 0; }

  void play(fuzz::ProcessModel& model) {
    for (std::size_t i = 0; i < count_; ++i) model.play(records_[i]);
    count_ = 0;
    fuzz::ProcessModel::forget();
  }

  // The same by the player's thread, until wait().
  void start_playing(fuzz::ProcessModel& model) {
    if (!thread_.joinable()) thread_ = std::thread([this, &model] { work(model); });
    say(kPlay);
  }
  void wait() const {
    for (int turn = turn_; turn != kDone; turn = turn_) turn_.wait(turn);
  }
  void end() {
    if (!thread_.joinable()) return;
    say(kEnd);
    thread_.join();
    turn_ = kDone;
  }

 private:
  enum Turn { kDone, kPlay, kEnd };

  void say(int turn) {
    turn_ = turn;
    turn_.notify_one();
  }
  void work(fuzz::ProcessModel& model) {
    for (;;) {
      turn_.wait(kDone);
      if (turn_ == kEnd) return;
      play(model);
      say(kDone);
    }
  }

  static constexpr std::size_t kMostRecords = 256;
  std::array<trace::Record, kMostRecords> records_;
  std::size_t count_ = 0;
  std::thread thread_;
  std::atomic<int> turn_{kDone};  // written by who gives work, and by the thread when it has done it
};

// The C library keeps the stack of a thread that has ended, and what belongs to it, for the next one: as many as there
// will ever be at a time are started once, so that later ones take nothing that stays.
void start_most_threads() {
  std::array<std::thread, kThreads> threads;
  std::atomic<std::size_t> started{0};
  for (std::thread& thread : threads) {
    thread = std::thread([&] {
      ++started;
      started.notify_all();
      for (std::size_t count = started; count < kThreads; count = started) started.wait(count);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class Round {
 public:
  void add(const trace::Record& record) {
    const std::size_t thread = record.thread % kThreads;
    const bool is_alone = fuzz::ProcessModel::is_alone(record);
    const bool is_scan = record.op == trace::Op::kScan;
    const auto touched = fuzz::ProcessModel::touched(record);
    const auto is_anothers = [&](std::size_t object) { return touched_[object] && owners_[object] != thread; };
    if (is_alone || record.op == trace::Op::kEnd || players_[thread].is_full() || players_[0].is_full() ||
        (!is_scan && std::any_of(touched.begin(), touched.end(), is_anothers))) {
      play();
    }
    if (record.op == trace::Op::kEnd) return players_[thread].end();
    if (is_alone) {
      model_.play(record);
      return fuzz::ProcessModel::forget();
    }
    if (is_scan) {
      scans_ = true;
      return players_[0].add(record);
    }
    for (const std::size_t object : touched) {
      touched_[object] = true;
      owners_[object] = thread;
    }
    players_[thread].add(record);
  }

  void play() {
    if (scans_) model_.expect(touched_);
    for (std::size_t i = 1; i < kThreads; ++i) {
      if (!players_[i].is_idle()) players_[i].start_playing(model_);
    }
    players_[0].play(model_);
    for (std::size_t i = 1; i < kThreads; ++i) players_[i].wait();
    touched_ = {};
    scans_ = false;
  }

  void begin() { model_.begin(); }
  void finish() {
    play();
    for (Player& player : players_) player.end();
    model_.finish();
  }

 private:
  fuzz::ProcessModel model_;
  std::array<Player, kThreads> players_;
  fuzz::ProcessModel::Touched touched_{};
  std::array<std::size_t, fuzz::ProcessModel::kObjects> owners_{};  // of those that are touched
  bool scans_ = false;
};

Round g_round;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  g_round.begin();
  fuzz::Records({data, size}).for_each([](const trace::Record& record) { g_round.add(record); });
  g_round.finish();
  return 0;
}

// What is allocated once is none of the first input's: libFuzzer would play that again, and not want to know of leaks.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::ProcessModel::start();
  start_most_threads();
  LLVMFuzzerTestOneInput(nullptr, 0);
  return 0;
}
