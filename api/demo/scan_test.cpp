// A test file that notices leaks: the second case fails, and says why.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <arenascan/arena.hpp>

namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Forgets the previous word every time.
[[gnu::noinline]] const std::string* longest_word(const std::string& text) {
  const std::string* longest = new std::string;
  for (const std::string& word : split(text)) {
    if (word.size() > longest->size()) longest = new std::string(word);
  }
  return longest;
}

}  // namespace

TEST_CASE("split leaks nothing") {
  const arena::leak_scope scope;
  CHECK(split("the quick brown fox jumps over the lazy dog").size() == 9);
  CHECK(scope.leaks() == 0);
}

TEST_CASE("longest_word leaks nothing") {
  const arena::leak_scope scope;
  const std::string* const word = longest_word("a scanner finds unreachable allocations");
  CHECK(*word == "unreachable");
  delete word;
  CHECK(scope.leaks() == 0);
}
