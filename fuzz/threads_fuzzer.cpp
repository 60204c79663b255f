// Bytes as an allocation trace, as for trace_fuzzer, but each of its threads is one. Records are played in rounds: as
// many as follow each other without touching an object that another thread of the round touches. So who acts beside
// whom, and what each does in which order, is the input's choice, and the model still knows what has to come out. How
// the steps of a round interleave is the input's choice, too, in the fuzz build (schedule.h), and the machine's in
// others.
#include <algorithm>
#include <barrier>
#include <string_view>
#include <thread>
#include <vector>

#include "fuzz/chance.h"
#include "fuzz/model.h"
#include "fuzz/records.h"
#include "fuzz/schedule.h"

using namespace arenascan;

namespace {

constexpr std::size_t kThreads = fuzz::Model::kThreads;
static_assert(kThreads == fuzz::Schedule::kThreads);

// Threads that play what they are given, and wait in between; they live as long as the process.
class Players {
 public:
  Players() {
    for (std::size_t i = 0; i < kThreads; ++i) std::thread([this, i] { work(i); }).detach();
  }

  void play(fuzz::Model& model, const std::array<std::vector<trace::Record>, kThreads>& round, std::uint64_t seed) {
    model_ = &model;
    round_ = &round;
    std::array<bool, kThreads> takes_part;
    for (std::size_t i = 0; i < kThreads; ++i) takes_part[i] = !round[i].empty();
    schedule_.begin(seed, takes_part);
    begin_.arrive_and_wait();
    end_.arrive_and_wait();
  }

 private:
  void work(std::size_t number) {
    for (;;) {
      begin_.arrive_and_wait();
      if (!(*round_)[number].empty()) {
        schedule_.enter(number);
        for (const trace::Record& record : (*round_)[number]) model_->play(record);
        schedule_.leave();
      }
      end_.arrive_and_wait();
    }
  }

  // Written before `begin_`, read after it.
  fuzz::Model* model_ = nullptr;
  const std::array<std::vector<trace::Record>, kThreads>* round_ = nullptr;
  fuzz::Schedule schedule_;
  std::barrier<> begin_{kThreads + 1};
  std::barrier<> end_{kThreads + 1};
};

class Round {
 public:
  Round(fuzz::Model& model, std::uint64_t seed) : model_(model), seed_(seed) {}

  void add(const trace::Record& record) {
    const std::size_t thread = record.thread % kThreads;
    const auto touched = fuzz::Model::touched(record);
    const bool is_alone = model_.is_alone(record);
    bool is_anothers = false;
    for (std::size_t i = 0; i < kThreads; ++i) is_anothers |= i != thread && (touched_[i] & touched).any();
    if (is_alone || is_anothers) play();
    if (is_alone) return model_.play(record);
    touched_[thread] |= touched;
    records_[thread].push_back(record);
  }

  void play() {
    static Players& players = *new Players;  // outlives the threads
    const auto has_records = [](const auto& records) { return !records.empty(); };
    const auto busy = std::count_if(records_.begin(), records_.end(), has_records);
    if (busy > 1) {
      players.play(model_, records_, seed_++);
    } else {
      for (const auto& records : records_) {
        for (const trace::Record& record : records) model_.play(record);
      }
    }
    for (auto& records : records_) records.clear();
    touched_ = {};
  }

 private:
  fuzz::Model& model_;
  std::uint64_t seed_;
  std::array<std::vector<trace::Record>, kThreads> records_;
  std::array<fuzz::Model::Set, kThreads> touched_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Records records({data, size});
  fuzz::Model model(records.rest_bytes());
  std::uint64_t seed = 0;  // any number that each byte changes
  for (std::size_t i = 0; i < size; ++i) seed = (seed ^ data[i]) * 0x100000001b3;
  Round round(model, seed);
  fuzz::for_each_record(records, [&round](const trace::Record& record) { round.add(record); });
  round.play();
  model.finish();
  return 0;
}
