// Bytes as a program that allocates, frees, links and scans in a private heap, against a model that knows every object
// and every pointer: no overlap, sizes kept, exactly the unreachable objects reported, structures valid at the end.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "alloc/heap.h"
#include "scan/scanner.h"

using namespace arenascan;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::uint32_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::uint32_t below(std::size_t limit) {
    return limit == 0 ? 0 : (byte() << 8 | byte()) % static_cast<std::uint32_t>(limit);
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

struct Object {
  std::uintptr_t address;
  std::size_t bytes;
  std::vector<std::uintptr_t> words;  // what its contents are: addresses it points to, or 0
};

class Program {
 public:
  Program() : scanner_(heap_, user_roots_, nullptr) {
    require(heap_.init(std::size_t{256} << 20));
    for (alloc::ThreadCache*& cache : caches_) require((cache = heap_.acquire_cache()) != nullptr);
    const auto begin = reinterpret_cast<std::uintptr_t>(roots_.data());
    require(user_roots_.add({begin, begin + sizeof(roots_)}));
  }
  ~Program() { heap_.destroy(); }

  void run(Input input) {
    while (!input.empty()) {
      switch (input.byte() % 8) {
        case 0:
        case 1: allocate(input); break;
        case 2: release(input); break;
        case 3:
        case 4: link(input); break;
        case 5: roots_[input.below(roots_.size())] = pick(input); break;
        case 6: resize(input); break;
        default: scan(); break;
      }
    }
    scan();
    require(heap_.is_valid());
  }

 private:
  static constexpr std::size_t kMaxObjects = 200;

  alloc::ThreadCache& cache(Input& input) { return *caches_[input.byte() % caches_.size()]; }

  // A pointer to or into an object, or null.
  std::uintptr_t pick(Input& input) {
    if (objects_.empty() || input.byte() % 4 == 0) return 0;
    const Object& object = objects_[input.below(objects_.size())];
    return object.address + (object.bytes == 0 ? 0 : input.below(object.bytes));
  }

  void allocate(Input& input) {
    if (objects_.size() == kMaxObjects) return;
    const std::uint32_t kind = input.byte();
    const std::size_t bytes = kind < 200   ? input.below(300)
                              : kind < 250 ? input.below(65'536)
                                           : input.below(65'536) * 8;
    const std::size_t alignment = std::size_t{16} << (kind % 16 == 0 ? input.byte() % 10 : 0);
    void* const p = heap_.allocate_slow(cache(input), bytes, alignment, heap_.birth(0), 0).object;
    require(p != nullptr);
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    require(address % alignment == 0);
    for (const Object& other : objects_) {
      require(address + std::max<std::size_t>(bytes, 1) <= other.address ||
              other.address + std::max<std::size_t>(other.bytes, 1) <= address);
    }
    std::memset(p, 0, bytes);
    objects_.push_back({address, bytes, std::vector<std::uintptr_t>(bytes / sizeof(std::uintptr_t))});
  }

  void release(Input& input) {
    if (objects_.empty()) return;
    const std::size_t which = input.below(objects_.size());
    check(objects_[which]);
    heap_.release(cache(input), reinterpret_cast<void*>(objects_[which].address));
    objects_.erase(objects_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  void link(Input& input) {
    if (objects_.empty()) return;
    Object& object = objects_[input.below(objects_.size())];
    if (object.words.empty()) return;
    const std::size_t word = input.below(object.words.size());
    object.words[word] = pick(input);
    store(object, word);
  }

  void resize(Input& input) {
    if (objects_.empty()) return;
    Object& object = objects_[input.below(objects_.size())];
    const std::size_t bytes = 1 + input.below(2 * object.bytes + 16);
    if (!heap_.resize_in_place(reinterpret_cast<void*>(object.address), bytes, 0)) return;
    object.words.resize(bytes / sizeof(std::uintptr_t));
    object.bytes = bytes;
    std::memset(reinterpret_cast<void*>(object.address), 0, bytes);
    for (std::size_t i = 0; i < object.words.size(); ++i) store(object, i);
  }

  static void store(const Object& object, std::size_t word) {
    std::memcpy(reinterpret_cast<void*>(object.address + word * sizeof(std::uintptr_t)), &object.words[word],
                sizeof(std::uintptr_t));
  }

  void check(const Object& object) const {
    require(heap_.requested_bytes(reinterpret_cast<void*>(object.address)) == object.bytes);
    for (std::size_t i = 0; i < object.words.size(); ++i) {
      std::uintptr_t stored = 0;
      std::memcpy(&stored, reinterpret_cast<const void*>(object.address + i * sizeof(stored)), sizeof(stored));
      require(stored == object.words[i]);
    }
  }

  static bool points_to(std::uintptr_t word, const Object& object) {
    const bool is_empty_array = object.bytes == sizeof(std::uintptr_t) && object.words[0] == 0;  // `new T[0]`
    return word >= object.address && word < object.address + std::max<std::size_t>(object.bytes, 1) + is_empty_array;
  }

  void reach(std::uintptr_t word, std::vector<bool>& reached, std::vector<std::size_t>& to_read) const {
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (reached[i] || !points_to(word, objects_[i])) continue;
      reached[i] = true;
      to_read.push_back(i);
    }
  }

  void scan() {
    std::vector<bool> reached(objects_.size());
    std::vector<std::size_t> to_read;
    for (const std::uintptr_t root : roots_) reach(root, reached, to_read);
    while (!to_read.empty()) {
      const Object& object = objects_[to_read.back()];
      to_read.pop_back();
      for (const std::uintptr_t word : object.words) reach(word, reached, to_read);
    }
    scan::Verdict verdict;
    scanner_.scan({}, verdict);
    const auto reachable = static_cast<std::uint64_t>(std::count(reached.begin(), reached.end(), true));
    require(verdict.incomplete == scan::Incomplete::kNo);
    require(verdict.seen.objects == objects_.size());
    require(verdict.reached.objects == reachable);
    require(verdict.direct.objects + verdict.indirect.objects + verdict.changed.objects == objects_.size() - reachable);
  }

  alloc::Heap heap_;
  scan::UserRoots user_roots_;
  scan::Scanner scanner_;
  std::array<alloc::ThreadCache*, 2> caches_{};
  std::array<std::uintptr_t, 4> roots_{};
  std::vector<Object> objects_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Program program;
  program.run(Input({data, size}));
  return 0;
}
