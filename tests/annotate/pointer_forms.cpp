// Forms of a pointer that are looked for if an option says so, and are none without it: in a global, in a large object
// and in a small one, with the world stopped and beside the running program. What is compressed is never one; there the
// program says that the object is no leak.
// args: unaligned past-end tagged compressed
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kObjectBytes = 100;  // as allocate_hidden() makes them
constexpr std::size_t kLargeBytes = 300'000;

struct Form {
  const char* name;
  const char* option;  // null: there is none
  std::size_t offset;  // in the place
  std::uintptr_t (*encode)(Hidden);
};

std::uintptr_t plain(Hidden hidden) { return ~hidden; }
std::uintptr_t behind(Hidden hidden) { return ~hidden + kObjectBytes; }
std::uintptr_t tagged(Hidden hidden) { return ~hidden | std::uintptr_t{0x5A} << 56; }
std::uintptr_t compressed(Hidden hidden) { return static_cast<std::uint32_t>(~hidden >> 4); }

constexpr std::array<Form, 4> kForms = {{
    {"unaligned", "use_unaligned=1", 3, plain},
    {"past-end", "use_past_end=1", 0, behind},
    {"tagged", "tag_bits=8", 0, tagged},
    {"compressed", nullptr, 0, compressed},
}};

char g_memory[64];
char* volatile g_small = nullptr;
char* volatile g_large = nullptr;

[[gnu::noinline]] void put(char* place, const Form& form, Hidden hidden) {
  const std::uintptr_t word = form.encode(hidden);
  std::memcpy(place + form.offset, &word, sizeof(word));
}

// Each in turn; the option decides whether it is reported.
void test_places(const Form& form, bool is_on) {
  for (int place = 0; place < 3; ++place) {
    // Across two of the system's pages.
    char* const across =
        reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(g_large) + 8192) & ~std::uintptr_t{4095});
    char* const at = place == 0 ? g_memory : place == 1 ? g_small : form.offset == 0 ? g_large + 4096 : across - 6;
    const std::uint32_t mark = arena_mark();
    const Hidden hidden = allocate_hidden();
    put(at, form, hidden);
    scrub_stack();
    CHECK(leaked_since(mark) == (is_on ? 0 : 1));
    CHECK(leaked_since(mark) == (is_on ? 0 : 1));
    if (form.option == nullptr) {
      CHECK(arena_not_leak(reveal(hidden)) == 0);
      scrub_stack();
      CHECK(leaked_since(mark) == 0);
    }
    std::memset(at, 0, 16);
    scrub_stack();
    if (form.option != nullptr) CHECK(leaked_since(mark) == 1);
  }
}

}  // namespace

int main(int, char** argv) {
  const std::string_view wanted(argv[1]);
  const bool is_on = std::getenv("ARENA_FORM_ON") != nullptr;
  g_small = static_cast<char*>(std::calloc(1, 64));
  g_large = static_cast<char*>(std::calloc(1, kLargeBytes));
  for (const Form& form : kForms) {
    if (form.name != wanted) continue;
    test_places(form, is_on);
    // Beside another thread, and with a heap large enough to be worth it.
    std::vector<std::vector<char>> ballast(5'000, std::vector<char>(1'000));
    std::atomic<bool> done{false};
    std::thread other([&] {
      while (!done) std::this_thread::yield();
    });
    test_places(form, is_on);
    done = true;
    other.join();
    if (form.option != nullptr && !is_on && arenascan::test::finish() == 0) {
      setenv("ARENA_FORM_ON", "1", 1);
      setenv("ARENASCAN_OPTIONS", ("at_exit=0:" + std::string(form.option)).c_str(), 1);
      execv("/proc/self/exe", argv);
    }
  }
  return arenascan::test::finish();
}
