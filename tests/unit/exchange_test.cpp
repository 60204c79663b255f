// Lanes that send each other words at random, as marks do: each word is received once, by the lane it was sent to, and
// the sharing ends only when none is left, or when somebody ends it, with the rest still in the rings.
#include "scan/exchange.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <thread>
#include <vector>

#include "alloc/os.h"
#include "tests/unit/random.h"

using namespace arenascan;

namespace {

struct Lane {
  std::vector<std::uintptr_t> received;
  std::vector<std::uintptr_t> waiting;  // received, not answered yet
};

// A word is `hops * kMostLanes + lane it is for`. It is answered by two words with one hop less, for lanes at random.
constexpr std::uintptr_t kHop = scan::kMostLanes;

class Game {
 public:
  explicit Game(std::size_t lanes) : lanes_(lanes) { REQUIRE(exchange.begin(lanes)); }

  void play(std::size_t self, std::uint64_t seed) {
    test::Random random(seed * 31 + self);
    Lane& lane = lanes_[self];
    while (!exchange.has_ended()) {
      receive(self);
      if (lane.waiting.empty()) {
        if (!exchange.park(self, nullptr)) return;
        continue;
      }
      const std::uintptr_t hops = lane.waiting.back() / kHop;
      lane.waiting.pop_back();
      for (int i = 0; hops > 0 && i < 2; ++i) answer(self, random.below(lanes_.size()), hops - 1);
    }
  }

  void answer(std::size_t self, std::size_t to, std::uintptr_t hops) {
    const std::uintptr_t word = hops * kHop + to;
    if (to == self) {
      take(self, &word, 1);
      return;
    }
    while (exchange.send(self, to, &word, 1) == 0) {
      if (exchange.has_ended()) {
        left_over.fetch_add(1);
        return;
      }
      receive(self);
    }
  }

  void receive(std::size_t self) {
    exchange.receive(self, 64, [&](const std::uintptr_t* words, std::size_t count) {
      CHECK(count <= 64);
      take(self, words, count);
    });
  }

  void take(std::size_t self, const std::uintptr_t* words, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      lanes_[self].received.push_back(words[i]);
      lanes_[self].waiting.push_back(words[i]);
    }
  }

  std::vector<Lane>& lanes() { return lanes_; }

  scan::Exchange exchange;
  std::atomic<std::size_t> left_over{0};

 private:
  std::vector<Lane> lanes_;
};

// Words that one with so many hops brings about, itself included.
std::size_t family(std::uintptr_t word) { return (std::size_t{2} << (word / kHop)) - 1; }

void play(std::size_t lanes, std::uintptr_t hops, std::uint64_t seed, bool cut_short) {
  CAPTURE(lanes);
  CAPTURE(seed);
  Game game(lanes);
  const std::uintptr_t first = hops * kHop;
  game.take(0, &first, 1);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < lanes; ++i) threads.emplace_back([&game, i, seed] { game.play(i, seed); });
  if (cut_short) {
    alloc::os_sleep_ns(seed * 1'000);
    game.exchange.end();
  }
  for (std::thread& thread : threads) thread.join();

  // What lanes left, in the rings and with themselves; and, of it all, each brings about its family.
  for (std::size_t i = 0; i < lanes; ++i) game.receive(i);
  std::size_t received = 0;
  std::size_t to_come = 0;
  for (std::size_t i = 0; i < lanes; ++i) {
    for (const std::uintptr_t word : game.lanes()[i].received) CHECK(word % kHop == i);
    received += game.lanes()[i].received.size();
    for (const std::uintptr_t word : game.lanes()[i].waiting) to_come += family(word) - 1;
  }
  if (game.left_over == 0) CHECK(received + to_come == family(first));
  CHECK(received + to_come <= family(first));
}

}  // namespace

TEST_CASE("all words arrive, and then the sharing ends") {
  for (std::size_t lanes : {std::size_t{2}, std::size_t{3}, scan::kMostLanes}) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) play(lanes, 13, seed, false);
  }
}

TEST_CASE("a sharing that is ended early leaves everything where it can be taken over") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) play(4, 15, seed * 10, true);
}

TEST_CASE("a full ring takes what it has room for") {
  scan::Exchange exchange;
  REQUIRE(exchange.begin(2));
  std::vector<std::uintptr_t> words(10'000);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = i;
  const std::size_t sent = exchange.send(0, 1, words.data(), words.size());
  CHECK(sent > 0);
  CHECK(sent < words.size());
  CHECK(exchange.send(0, 1, words.data(), 1) == 0);
  std::vector<std::uintptr_t> received;
  CHECK(!exchange.receive(0, 100, [](const std::uintptr_t*, std::size_t) {}));
  CHECK(exchange.receive(
      1, 100, [&](const std::uintptr_t* at, std::size_t count) { received.insert(received.end(), at, at + count); }));
  words.resize(sent);
  CHECK(received == words);
}

TEST_CASE("pieces of any length come out as they went in") {
  scan::Exchange exchange;
  REQUIRE(exchange.begin(3));
  test::Random random(5);
  std::array<std::deque<std::uintptr_t>, 2> on_the_way;  // to lane 2, by whom they are from
  std::uintptr_t next = 0;
  for (int step = 0; step < 5'000; ++step) {
    const std::size_t from = random.below(2);
    std::vector<std::uintptr_t> words(1 + random.below(random.one_in(4) ? 5'000 : 100));
    std::generate(words.begin(), words.end(), [&next] { return ++next; });
    const std::size_t sent = exchange.send(from, 2, words.data(), words.size());
    on_the_way[from].insert(on_the_way[from].end(), words.begin(), words.begin() + static_cast<std::ptrdiff_t>(sent));
    if (!random.one_in(3)) continue;
    exchange.receive(2, 1 + random.below(300), [&](const std::uintptr_t* at, std::size_t count) {
      auto& sender = !on_the_way[0].empty() && on_the_way[0].front() == *at ? on_the_way[0] : on_the_way[1];
      REQUIRE(count <= sender.size());
      REQUIRE(std::equal(at, at + count, sender.begin()));
      sender.erase(sender.begin(), sender.begin() + static_cast<std::ptrdiff_t>(count));
    });
    REQUIRE((on_the_way[0].empty() && on_the_way[1].empty()));
  }
}

TEST_CASE("owners: neighbours have the same, and all have about as much") {
  scan::Exchange exchange;
  REQUIRE(exchange.begin(3));
  std::array<std::size_t, 3> owned{};
  for (std::size_t page = 0; page < 30'000; ++page) {
    const std::size_t owner = exchange.owner_of(page);
    REQUIRE(owner < 3);
    CHECK(owner == exchange.owner_of(page & ~std::size_t{3}));
    ++owned[owner];
  }
  for (const std::size_t count : owned) CHECK(count > 9'000);
}
