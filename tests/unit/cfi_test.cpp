// Unwind rules from hand-made table entries, and from entries that are cut short or damaged. The entry and its common
// part each end where an inaccessible page begins, so that one byte read too far ends the test.
#include "alloc/cfi.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstring>
#include <ostream>
#include <vector>

#include "tests/unit/random.h"

using namespace arenascan;
using alloc::UnwindRule;
using Bytes = std::vector<std::uint8_t>;

namespace {

constexpr std::uintptr_t kBegin = 0x400000;  // of the code that the entries describe
constexpr std::uint32_t kCodeBytes = 0x1000;
constexpr std::uint8_t kFp = 6;
constexpr std::uint8_t kSp = 7;
constexpr std::uint8_t kReturn = 16;

Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

template <typename T>
Bytes raw(T value) {
  Bytes bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

Bytes uleb(std::uint64_t value) {
  Bytes bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 0x80));
  bytes.push_back(static_cast<std::uint8_t>(value));
  return bytes;
}

Bytes sleb(std::int64_t value) {
  Bytes bytes;
  for (; value < -64 || value > 63; value >>= 7) bytes.push_back(static_cast<std::uint8_t>((value & 0x7F) | 0x80));
  bytes.push_back(static_cast<std::uint8_t>(value & 0x7F));
  return bytes;
}

// Instructions.
Bytes advance(std::uint8_t bytes) { return {static_cast<std::uint8_t>(0x40 | bytes)}; }
Bytes offset(std::uint8_t reg, std::uint64_t words_below_cfa) {
  return Bytes{static_cast<std::uint8_t>(0x80 | reg)} + uleb(words_below_cfa);
}
Bytes restore(std::uint8_t reg) { return {static_cast<std::uint8_t>(0xC0 | reg)}; }
Bytes def_cfa(std::uint8_t reg, std::uint64_t at) { return Bytes{0x0C, reg} + uleb(at); }
Bytes def_cfa_register(std::uint8_t reg) { return {0x0D, reg}; }
Bytes def_cfa_offset(std::uint64_t at) { return Bytes{0x0E} + uleb(at); }
Bytes fp_plus(std::int64_t at) { return Bytes{0x76} + sleb(at); }
Bytes def_cfa_expression(const Bytes& code) { return Bytes{0x0F} + uleb(code.size()) + code; }
Bytes expression(std::uint8_t reg, const Bytes& code) { return Bytes{0x10, reg} + uleb(code.size()) + code; }
const Bytes kRememberState{0x0A};
const Bytes kRestoreState{0x0B};
const Bytes kDeref{0x06};

const Bytes kUsualStart = def_cfa(kSp, 8) + offset(kReturn, 1);

// The parts of a common entry and of an entry behind their length fields; the entry's link is filled in by Table.
struct Source {
  Bytes augmentation = {'z', 'R', 0};
  Bytes augmentation_data = {0x00};  // absolute pointers
  Bytes start = kUsualStart;
  Bytes program;

  [[nodiscard]] Bytes common() const {
    return raw<std::uint32_t>(0) + Bytes{1} + augmentation + uleb(1) + sleb(-8) + Bytes{kReturn} +
           uleb(augmentation_data.size()) + augmentation_data + start;
  }
  [[nodiscard]] Bytes entry() const {
    return raw<std::uint32_t>(0) + raw<std::uint64_t>(kBegin) + raw<std::uint64_t>(kCodeBytes) + uleb(0) + program;
  }
};

// One entry and its common part in memory. Each is followed by a page that must not be touched.
class Table {
 public:
  Table() {
    pages_ = static_cast<std::uint8_t*>(
        mmap(nullptr, 4 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(pages_ != MAP_FAILED);
    REQUIRE(mprotect(pages_ + kPageBytes, kPageBytes, PROT_NONE) == 0);
    REQUIRE(mprotect(pages_ + 3 * kPageBytes, kPageBytes, PROT_NONE) == 0);
  }
  ~Table() { munmap(pages_, 4 * kPageBytes); }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  void put(const Bytes& common, Bytes entry) {
    common_ = place(common, 1);
    if (entry.size() >= 4) {
      const std::uint8_t* const link = pages_ + 3 * kPageBytes - entry.size();
      const auto back = raw<std::uint32_t>(static_cast<std::uint32_t>(link - common_));
      std::copy(back.begin(), back.end(), entry.begin());
    }
    entry_ = place(entry, 3);
  }
  void put(const Source& source) { put(source.common(), source.entry()); }

  [[nodiscard]] UnwindRule at(std::uintptr_t offset) const {
    return alloc::evaluate(reinterpret_cast<const std::byte*>(entry_), kBegin + offset);
  }

 private:
  static constexpr std::size_t kPageBytes = 4096;

  // Puts a record right before the guard page with this number.
  std::uint8_t* place(const Bytes& bytes, std::size_t guard) {
    std::uint8_t* const at = pages_ + guard * kPageBytes - bytes.size() - 4;
    const auto length = static_cast<std::uint32_t>(bytes.size());
    std::memcpy(at, &length, sizeof(length));
    std::copy(bytes.begin(), bytes.end(), at + 4);
    return at;
  }

  std::uint8_t* pages_ = nullptr;
  std::uint8_t* common_ = nullptr;
  std::uint8_t* entry_ = nullptr;
};

UnwindRule rule_of(const Bytes& program, std::uintptr_t at = kCodeBytes - 1) {
  Table table;
  Source source;
  source.program = program;
  table.put(source);
  return table.at(at);
}

using Kind = UnwindRule::Kind;
using Base = UnwindRule::Base;
using SavedFp = UnwindRule::SavedFp;

UnwindRule frame(Base base, std::int32_t cfa_offset, SavedFp saved_fp = SavedFp::kUnchanged,
                 std::int32_t fp_offset = 0) {
  return {Kind::kFrame, base, saved_fp, cfa_offset, fp_offset};
}

constexpr UnwindRule kComplexRule{};

}  // namespace

namespace arenascan::alloc {
std::ostream& operator<<(std::ostream& out, const UnwindRule& rule) {
  return out << "kind " << static_cast<int>(rule.kind) << " base " << static_cast<int>(rule.base) << " cfa "
             << rule.cfa_offset << " fp " << static_cast<int>(rule.saved_fp) << ' ' << rule.fp_offset;
}
}  // namespace arenascan::alloc

TEST_CASE("cfi: a function that pushes rbp, moves rsp into it and undoes both") {
  Table table;
  Source source;
  source.program = advance(1) + def_cfa_offset(16) + offset(kFp, 2) + advance(3) + def_cfa_register(kFp) + advance(40) +
                   kRememberState + def_cfa(kSp, 8) + restore(kFp) + advance(1) + kRestoreState;
  table.put(source);
  const UnwindRule entered = frame(Base::kSp, 8);
  const UnwindRule framed = frame(Base::kFp, 16, SavedFp::kBelowCfa, -16);
  CHECK(table.at(0) == entered);
  CHECK(table.at(1) == frame(Base::kSp, 16, SavedFp::kBelowCfa, -16));
  CHECK(table.at(3) == frame(Base::kSp, 16, SavedFp::kBelowCfa, -16));
  CHECK(table.at(4) == framed);
  CHECK(table.at(43) == framed);
  CHECK(table.at(44) == entered);
  CHECK(table.at(45) == framed);
  CHECK(table.at(kCodeBytes - 1) == framed);
}

TEST_CASE("cfi: addresses outside of the entry have no rule") {
  Table table;
  table.put(Source{});
  CHECK(table.at(0).kind == Kind::kFrame);
  CHECK(table.at(kCodeBytes - 1).kind == Kind::kFrame);
  CHECK(table.at(kCodeBytes) == kComplexRule);
  CHECK(table.at(static_cast<std::uintptr_t>(-1)) == kComplexRule);
}

TEST_CASE("cfi: each way to say the same") {
  const UnwindRule wanted = frame(Base::kSp, 48, SavedFp::kBelowCfa, -24);
  const Bytes saved = offset(kFp, 3);
  CHECK(rule_of(def_cfa_offset(48) + saved) == wanted);
  CHECK(rule_of(Bytes{0x13} + sleb(-6) + saved) == wanted);                              // def_cfa_offset_sf
  CHECK(rule_of(Bytes{0x12, kSp} + sleb(-6) + saved) == wanted);                         // def_cfa_sf
  CHECK(rule_of(def_cfa_offset(48) + Bytes{0x05, kFp} + uleb(3)) == wanted);             // offset_extended
  CHECK(rule_of(def_cfa_offset(48) + Bytes{0x11, kFp} + sleb(3)) == wanted);             // offset_extended_sf
  CHECK(rule_of(Bytes{0x02, 9} + def_cfa_offset(48) + saved) == wanted);                 // advance_loc1
  CHECK(rule_of(Bytes{0x03, 0xFF, 0x0F} + def_cfa_offset(48) + saved) == wanted);        // advance_loc2
  CHECK(rule_of(Bytes{0x04, 0xFF, 0x0F, 0, 0} + def_cfa_offset(48) + saved) == wanted);  // advance_loc4
  CHECK(rule_of(Bytes{0x01} + raw<std::uint64_t>(kBegin + 9) + def_cfa_offset(48) + saved) == wanted);  // set_loc
  CHECK(rule_of(Bytes{0x00, 0x2E, 0x10} + def_cfa_offset(48) + saved) == wanted);  // nop, GNU_args_size
  CHECK(rule_of(saved + Bytes{0x06, kFp}) == frame(Base::kSp, 8));                 // restore_extended
  CHECK(rule_of(saved + Bytes{0x08, kFp}) == frame(Base::kSp, 8));                 // same_value
  CHECK(rule_of(offset(3, 2) + offset(12, 3) + offset(15, 5) + def_cfa_offset(48) + saved) == wanted);
  CHECK(rule_of(def_cfa_offset(1 << 20)) == frame(Base::kSp, 1 << 20));
}

TEST_CASE("cfi: a function that realigns its stack") {
  const Bytes start = expression(kFp, fp_plus(0)) + def_cfa_expression(fp_plus(-8) + kDeref);
  CHECK(rule_of(start) == frame(Base::kWordAtFp, -8, SavedFp::kAtFp, 0));
  CHECK(rule_of(expression(kFp, fp_plus(-72)) + def_cfa_expression(fp_plus(-136) + kDeref)) ==
        frame(Base::kWordAtFp, -136, SavedFp::kAtFp, -72));
  CHECK(rule_of(start + def_cfa(kSp, 8) + restore(kFp)) == frame(Base::kSp, 8));
}

TEST_CASE("cfi: the outermost frame and the return from a signal handler") {
  CHECK(rule_of(Bytes{0x07, kReturn}).kind == Kind::kEnd);
  Table table;
  Source source;
  source.augmentation = {'z', 'R', 'S', 0};
  table.put(source);
  CHECK(table.at(0).kind == Kind::kSignal);
}

TEST_CASE("cfi: common parts of C++ code, old style, and with relative pointers") {
  Table table;
  Source source;
  source.augmentation = {'z', 'P', 'L', 'R', 0};
  source.augmentation_data = {0x9B, 1, 2, 3, 4, 0x1B, 0x00};
  table.put(source);
  CHECK(table.at(7) == frame(Base::kSp, 8));

  const Bytes old = raw<std::uint32_t>(0) + Bytes{1, 0, 1, 0x78, kReturn} + kUsualStart;
  const Bytes old_entry = raw<std::uint32_t>(0) + raw<std::uint64_t>(kBegin) + raw<std::uint64_t>(kCodeBytes);
  table.put(old, old_entry);
  CHECK(table.at(7) == frame(Base::kSp, 8));

  // pcrel, 4 bytes: the code lies right behind the entry here.
  source = {};
  source.augmentation_data = {0x1B};
  alignas(8) std::uint8_t buffer[128] = {};
  const Bytes common = source.common();
  const Bytes entry = raw(static_cast<std::uint32_t>(common.size() + 8)) + raw<std::int32_t>(64) +
                      raw<std::int32_t>(16) + uleb(0) + def_cfa_offset(32);
  const Bytes all =
      raw(static_cast<std::uint32_t>(common.size())) + common + raw(static_cast<std::uint32_t>(entry.size())) + entry;
  REQUIRE(all.size() <= sizeof(buffer));
  std::copy(all.begin(), all.end(), buffer);
  const auto* const fde = reinterpret_cast<const std::byte*>(buffer) + common.size() + 4;
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(fde) + 8 + 64;
  CHECK(alloc::evaluate(fde, begin) == frame(Base::kSp, 32));
  CHECK(alloc::evaluate(fde, begin + 15) == frame(Base::kSp, 32));
  CHECK(alloc::evaluate(fde, begin + 16) == kComplexRule);
  CHECK(alloc::evaluate(fde, begin - 1) == kComplexRule);
}

TEST_CASE("cfi: what no rule can say is complex") {
  const Bytes bad[] = {
      def_cfa(10, 0),                                     // CFA in another register
      def_cfa_expression(fp_plus(-8)),                    // rbp + n, not the word there
      def_cfa_expression(Bytes{0x77, 8}),                 // from rsp
      def_cfa_expression(fp_plus(-8) + kDeref + kDeref),  //
      def_cfa_expression({}),                             //
      expression(kFp, fp_plus(0) + kDeref),               //
      expression(kFp, Bytes{0x77, 8}),                    // saved relative to rsp
      Bytes{0x07, kFp},                                   // rbp is lost
      Bytes{0x09, kFp, 3},                                // rbp is in rbx
      Bytes{0x16, kFp, 2, 0x76, 0},                       // val_expression
      Bytes{0x16, kSp, 2, 0x76, 0},                       // the caller's rsp is not the CFA
      Bytes{0x14, kFp, 1},                                // val_offset: not known here
      offset(kReturn, 2),                                 // return address elsewhere
      Bytes{0x09, kReturn, 3},                            // in a register
      def_cfa_offset(std::uint64_t{1} << 40),             // too far for a rule
      offset(kFp, std::uint64_t{1} << 40),                //
      kRestoreState,                                      // nothing was remembered
      Bytes(20, 0x0A),                                    // remembered too often
      Bytes{0x3F},                                        // no such instruction
      Bytes{0x01, 1, 2, 3},                               // cut short
  };
  for (const Bytes& program : bad) {
    CAPTURE(&program - bad);
    CHECK(rule_of(program) == kComplexRule);
  }
  CHECK(rule_of(advance(16) + Bytes{0x3F}, 15) == frame(Base::kSp, 8));  // not reached
}

TEST_CASE("cfi: unknown common parts are complex") {
  const auto with_common = [](const Bytes& common) {
    Table table;
    table.put(common, Source{}.entry());
    return table.at(0);
  };
  const Bytes id = raw<std::uint32_t>(0);
  const Bytes factors = uleb(1) + sleb(-8) + Bytes{kReturn};
  CHECK(with_common(id + Bytes{1, 'z', 'R', 0} + factors + Bytes{1, 0} + kUsualStart) == frame(Base::kSp, 8));
  CHECK(with_common(id + Bytes{3, 'z', 'R', 0} + factors + Bytes{1, 0} + kUsualStart) == frame(Base::kSp, 8));
  CHECK(with_common(id + Bytes{4, 'z', 'R', 0} + factors + Bytes{1, 0} + kUsualStart) == kComplexRule);
  CHECK(with_common(id + Bytes{1, 'z', 'Q', 0} + factors + Bytes{1, 0} + kUsualStart) == kComplexRule);
  CHECK(with_common(id + Bytes{1, 'e', 'h', 0} + factors + Bytes{1, 0} + kUsualStart) == kComplexRule);
  CHECK(with_common(id + Bytes{1, 'z', 'R', 0, 1, 0x78, 3, 1, 0} + kUsualStart) == kComplexRule);
  CHECK(with_common(raw<std::uint32_t>(1) + Bytes{1, 'z', 'R', 0} + factors + Bytes{1, 0}) == kComplexRule);
  CHECK(with_common(id + Bytes{1, 'z', 'R', 0} + factors + Bytes{1, 0x80}) == kComplexRule);  // indirect pointers
  CHECK(with_common(id + Bytes{1, 'z', 'R', 0} + factors + Bytes{1, 0x50}) == kComplexRule);  // aligned ones
  CHECK(with_common(id + Bytes{1, 'z', 'R', 0} + factors + uleb(~std::uint64_t{0}) + Bytes{0}) == kComplexRule);
  CHECK(with_common(id + Bytes{1, 'z', 'R', 'R', 'R'}) == kComplexRule);  // the name has no end
}

TEST_CASE("cfi: a table cut anywhere is read to its end and no further") {
  Table table;
  Source source;
  source.augmentation = {'z', 'P', 'L', 'R', 0};
  source.augmentation_data = {0x9B, 1, 2, 3, 4, 0x1B, 0x00};
  const std::vector<Bytes> instructions = {advance(1),
                                           def_cfa_offset(300),
                                           offset(kFp, 2),
                                           Bytes{0x02, 3},
                                           kRememberState,
                                           Bytes{0x03, 1, 1},
                                           def_cfa(kFp, 1000),
                                           def_cfa_expression(fp_plus(-200) + kDeref),
                                           kRestoreState,
                                           Bytes{0x04, 1, 0, 0, 0},
                                           expression(kFp, fp_plus(-100)),
                                           Bytes{0x11, kFp} + sleb(-100)};
  const Bytes common = source.common();
  const Bytes head = source.entry();
  Bytes entry = head;
  for (const Bytes& instruction : instructions) {
    for (std::size_t kept = 0; kept < instruction.size(); ++kept) {
      Bytes cut = entry;
      cut.insert(cut.end(), instruction.begin(), instruction.begin() + static_cast<std::ptrdiff_t>(kept));
      table.put(common, cut);
      CAPTURE(cut.size());
      CHECK((table.at(kCodeBytes - 1).kind == Kind::kFrame) == (kept == 0));
    }
    entry = entry + instruction;
  }
  for (std::size_t kept = 0; kept < head.size(); ++kept) {
    table.put(common, Bytes(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(kept)));
    CHECK(table.at(0) == kComplexRule);
  }
  for (std::size_t kept = 0; kept < common.size() - source.start.size(); ++kept) {
    table.put(Bytes(common.begin(), common.begin() + static_cast<std::ptrdiff_t>(kept)), entry);
    CHECK(table.at(0) == kComplexRule);
  }
}

TEST_CASE("cfi: damaged bytes never lead outside") {
  test::Random random(7);
  Table table;
  Source source;
  source.program = advance(1) + def_cfa_offset(16) + offset(kFp, 2) + expression(kFp, fp_plus(-100)) + kRememberState +
                   def_cfa_expression(fp_plus(-200) + kDeref) + Bytes{0x03, 1, 1} + kRestoreState + Bytes{0x11, kFp} +
                   sleb(-100);
  const std::uint64_t rounds = test::length_from("ARENA_CFI_ROUNDS", 100'000);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    Bytes common = source.common();
    Bytes entry = source.entry();
    for (std::uint64_t flips = 1 + random.below(4); flips != 0; --flips) {
      Bytes& damaged = random.one_in(2) ? common : entry;
      // Links and lengths are the section's own and trusted; so is where the code begins, or nothing would be run.
      const std::size_t trusted = &damaged == &common || random.one_in(8) ? 4 : 20;
      damaged[trusted + random.below(damaged.size() - trusted)] = static_cast<std::uint8_t>(random.next());
    }
    table.put(common, entry);
    const std::uintptr_t at = random.below(kCodeBytes);
    const UnwindRule rule = table.at(at);
    if (!(rule == table.at(at))) FAIL("the same bytes gave two rules");
  }
}

TEST_CASE("cfi: the sorted table finds the last entry that begins at or before an address") {
  struct Header {
    std::uint8_t version = 1, frame_encoding = 0x1B, count_encoding = 0x03, table_encoding = 0x3B;
    std::int32_t frame = 0;
    std::uint32_t count = 3;
    std::int32_t table[3][2] = {{-0x200, 100}, {0x10, 200}, {0x50, 300}};
  };
  Header header;
  const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
  const auto find = [&](std::intptr_t offset) {
    const std::byte* const found =
        alloc::find_fde(bytes, reinterpret_cast<std::uintptr_t>(bytes) + static_cast<std::uintptr_t>(offset));
    return found == nullptr ? 0 : found - bytes;
  };
  CHECK(find(-0x201) == 0);
  CHECK(find(-0x200) == 100);
  CHECK(find(0x10) == 200);
  CHECK(find(0x50) == 300);
  CHECK(find(std::intptr_t{1} << 40) == 300);
  CHECK(find(-(std::intptr_t{1} << 40)) == 0);
  header.count = 0;
  CHECK(find(0x10) == 0);
  header = {};
  header.table_encoding = 0x1B;
  CHECK(find(0x10) == 0);
  header = {};
  header.frame_encoding = 0x00;  // eight bytes: the count would lie elsewhere
  CHECK(find(0x10) == 0);
}
