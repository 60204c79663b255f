#include "alloc/cfi.h"

#include <cstring>

#include "alloc/byte_reader.h"

namespace arenascan::alloc {
namespace {

constexpr std::uint64_t kRegisterFp = 6;
constexpr std::uint64_t kRegisterSp = 7;
constexpr std::uint64_t kRegisterReturn = 16;

// How one saved register is found.
struct Saved {
  enum class Where : std::uint8_t { kSame, kAtCfa, kAtFp, kUndefined, kOther };
  Where where = Where::kSame;
  std::int64_t offset = 0;
};

struct Row {
  std::uint64_t cfa_register = kRegisterSp;
  std::int64_t cfa_offset = 8;
  bool cfa_is_expression = false;
  bool cfa_is_word_at_fp = false;
  bool sp_is_cfa = true;  // the caller's rsp, unless a rule says otherwise
  Saved fp;
  Saved return_address;
};

struct Common {
  std::uint64_t code_factor = 1;
  std::int64_t data_factor = 1;
  std::uint8_t pointer_encoding = 0;
  bool has_augmentation = false;
  bool is_signal = false;
  const std::byte* program = nullptr;
  const std::byte* end = nullptr;
};

// The bytes of one length-prefixed record; an empty reader for the 64-bit form, which compilers do not emit here.
ByteReader record_at(const std::byte* at) noexcept {
  std::uint32_t length = 0;
  std::memcpy(&length, at, sizeof(length));
  if (length == 0xFFFFFFFF) length = 0;
  return {at + 4, at + 4 + length};
}

bool parse_common(const std::byte* cie, Common& common) noexcept {
  ByteReader reader = record_at(cie);
  if (reader.fixed<std::uint32_t>() != 0) return false;  // not a CIE
  const auto version = reader.fixed<std::uint8_t>();
  if (version != 1 && version != 3) return false;
  const char* const augmentation = reinterpret_cast<const char*>(reader.at());
  reader.skip(strnlen(augmentation, static_cast<std::size_t>(reader.end() - reader.at())) + 1);
  common.code_factor = reader.uleb();
  common.data_factor = reader.sleb();
  const std::uint64_t return_register = version == 1 ? reader.fixed<std::uint8_t>() : reader.uleb();
  if (return_register != kRegisterReturn || reader.failed()) return false;
  common.end = reader.end();
  if (augmentation[0] == 'z') {
    common.has_augmentation = true;
    const std::uint64_t bytes = reader.uleb();
    ByteReader behind = reader;
    behind.skip(bytes);
    if (behind.failed()) return false;
    common.program = behind.at();
    for (const char* c = augmentation + 1; *c != 0; ++c) {
      if (*c == 'R') {
        common.pointer_encoding = reader.fixed<std::uint8_t>();
      } else if (*c == 'P') {
        const auto encoding = reader.fixed<std::uint8_t>();
        reader.encoded(encoding & 0x0F);
      } else if (*c == 'L') {
        reader.fixed<std::uint8_t>();
      } else if (*c == 'S') {
        common.is_signal = true;
      } else {
        return false;
      }
    }
  } else {
    if (augmentation[0] != 0) return false;
    common.program = reader.at();
  }
  return !reader.failed();
}

class Machine {
 public:
  Machine(const Common& common, std::uintptr_t begin, std::uintptr_t target) noexcept
      : common_(common), location_(begin), target_(target) {}

  // Runs until the row that covers the target is complete. False when the program cannot be followed.
  bool run(const std::byte* begin, const std::byte* end) noexcept {
    ByteReader reader(begin, end);
    while (!reader.done() && !reader.failed()) {
      const auto opcode = reader.fixed<std::uint8_t>();
      const std::uint8_t operand = opcode & 0x3F;
      switch (opcode >> 6) {
        case 1:
          if (!advance(operand)) return true;
          continue;
        case 2: set(operand, {Saved::Where::kAtCfa, offset(reader.uleb())}); continue;
        case 3: restore(operand); continue;
        default: break;
      }
      if (!step(opcode, reader)) return !reader.failed() && stopped_;
    }
    return !reader.failed();
  }

  void keep_initial_row() noexcept { initial_ = row; }

  Row row;

 private:
  static constexpr std::size_t kMaxDepth = 8;

  bool move_to(std::uintptr_t location) noexcept {
    location_ = location;
    stopped_ = location_ > target_;
    return !stopped_;
  }
  bool advance(std::uint64_t units) noexcept { return move_to(location_ + units * common_.code_factor); }
  // Wraps on absurd values, which to_rule() then finds too large or merely wrong.
  template <typename T>
  [[nodiscard]] std::int64_t offset(T factored) const noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(factored) *
                                     static_cast<std::uint64_t>(common_.data_factor));
  }
  void set(std::uint64_t reg, Saved saved) noexcept {
    if (reg == kRegisterFp) row.fp = saved;
    if (reg == kRegisterReturn) row.return_address = saved;
    if (reg == kRegisterSp) row.sp_is_cfa = false;
  }
  void restore(std::uint64_t reg) noexcept {
    if (reg == kRegisterFp) row.fp = initial_.fp;
    if (reg == kRegisterReturn) row.return_address = initial_.return_address;
  }
  void define_cfa(std::uint64_t reg, std::int64_t at) noexcept {
    row.cfa_register = reg;
    row.cfa_offset = at;
    row.cfa_is_expression = false;
  }

  // Recognises "rbp + n" and, for the CFA, "the word at rbp + n"; anything else is left marked as an expression.
  static bool parse_fp_expression(ByteReader& reader, std::int64_t& at, bool& dereferenced) noexcept {
    constexpr std::uint8_t kBregFp = 0x76;
    constexpr std::uint8_t kDeref = 0x06;
    const std::uint64_t bytes = reader.uleb();
    const std::byte* const begin = reader.at();
    reader.skip(bytes);
    ByteReader expression(begin, reader.at());
    if (reader.failed() || expression.fixed<std::uint8_t>() != kBregFp) return false;
    at = expression.sleb();
    dereferenced = !expression.done();
    return (!dereferenced || expression.fixed<std::uint8_t>() == kDeref) && expression.done() && !expression.failed();
  }

  bool step(std::uint8_t opcode, ByteReader& reader) noexcept {
    switch (opcode) {
      case 0x00: return true;                                               // nop
      case 0x01: return move_to(reader.encoded(common_.pointer_encoding));  // set_loc
      case 0x02: return advance(reader.fixed<std::uint8_t>());              // advance_loc1
      case 0x03: return advance(reader.fixed<std::uint16_t>());             // advance_loc2
      case 0x04: return advance(reader.fixed<std::uint32_t>());             // advance_loc4
      case 0x05:
        return with_register(reader, [&](std::uint64_t r) {  // offset_extended
          set(r, {Saved::Where::kAtCfa, offset(reader.uleb())});
        });
      case 0x06: restore(reader.uleb()); return true;                             // restore_extended
      case 0x07: set(reader.uleb(), {Saved::Where::kUndefined, 0}); return true;  // undefined
      case 0x08: set(reader.uleb(), {Saved::Where::kSame, 0}); return true;       // same_value
      case 0x09:
        return with_register(reader, [&](std::uint64_t r) {  // register
          reader.uleb();
          set(r, {Saved::Where::kOther, 0});
        });
      case 0x0A:  // remember_state
        if (depth_ == kMaxDepth) return false;
        remembered_[depth_++] = row;
        return true;
      case 0x0B:  // restore_state
        if (depth_ == 0) return false;
        row = remembered_[--depth_];
        return true;
      case 0x0C:
        return with_register(reader, [&](std::uint64_t r) {  // def_cfa
          define_cfa(r, static_cast<std::int64_t>(reader.uleb()));
        });
      case 0x0D: define_cfa(reader.uleb(), row.cfa_offset); return true;  // def_cfa_register
      case 0x0E:                                                          // def_cfa_offset
        define_cfa(row.cfa_register, static_cast<std::int64_t>(reader.uleb()));
        return true;
      case 0x0F: {  // def_cfa_expression
        std::int64_t at = 0;
        row.cfa_is_expression = true;
        const bool known = parse_fp_expression(reader, at, row.cfa_is_word_at_fp);
        row.cfa_is_word_at_fp = row.cfa_is_word_at_fp && known;
        row.cfa_offset = at;
        return true;
      }
      case 0x10:
        return with_register(reader, [&](std::uint64_t r) {  // expression
          std::int64_t at = 0;
          bool dereferenced = false;
          const bool known = parse_fp_expression(reader, at, dereferenced) && !dereferenced;
          set(r, {known ? Saved::Where::kAtFp : Saved::Where::kOther, at});
        });
      case 0x11:
        return with_register(reader, [&](std::uint64_t r) {  // offset_extended_sf
          set(r, {Saved::Where::kAtCfa, offset(reader.sleb())});
        });
      case 0x12:
        return with_register(reader, [&](std::uint64_t r) {  // def_cfa_sf
          define_cfa(r, offset(reader.sleb()));
        });
      case 0x13: define_cfa(row.cfa_register, offset(reader.sleb())); return true;  // def_cfa_offset_sf
      case 0x16:
        return with_register(reader, [&](std::uint64_t r) {  // val_expression
          reader.skip(reader.uleb());
          set(r, {Saved::Where::kOther, 0});
        });
      case 0x2E: reader.uleb(); return true;  // GNU_args_size
      default: return false;
    }
  }

  template <typename Action>
  static bool with_register(ByteReader& reader, Action&& action) noexcept {
    action(reader.uleb());
    return true;
  }

  const Common& common_;
  std::uintptr_t location_;
  std::uintptr_t target_;
  bool stopped_ = false;
  Row initial_;
  Row remembered_[kMaxDepth];
  std::size_t depth_ = 0;
};

bool fits(std::int64_t value) noexcept { return value >= -(1 << 22) && value < (1 << 22); }

UnwindRule to_rule(const Row& row) noexcept {
  UnwindRule rule;
  if (row.return_address.where == Saved::Where::kUndefined) {
    rule.kind = UnwindRule::Kind::kEnd;
    return rule;
  }
  if (row.return_address.where != Saved::Where::kAtCfa || row.return_address.offset != -8) return rule;
  if (!row.sp_is_cfa || !fits(row.cfa_offset) || !fits(row.fp.offset)) return rule;
  if (row.cfa_is_expression) {
    if (!row.cfa_is_word_at_fp) return rule;
    rule.base = UnwindRule::Base::kWordAtFp;
  } else if (row.cfa_register == kRegisterFp) {
    rule.base = UnwindRule::Base::kFp;
  } else if (row.cfa_register != kRegisterSp) {
    return rule;
  }
  switch (row.fp.where) {
    case Saved::Where::kSame: break;
    case Saved::Where::kAtCfa: rule.saved_fp = UnwindRule::SavedFp::kBelowCfa; break;
    case Saved::Where::kAtFp: rule.saved_fp = UnwindRule::SavedFp::kAtFp; break;
    default: return rule;
  }
  rule.kind = UnwindRule::Kind::kFrame;
  rule.cfa_offset = static_cast<std::int32_t>(row.cfa_offset);
  rule.fp_offset = static_cast<std::int32_t>(row.fp.offset);
  return rule;
}

// An FDE: the code it is for, and its program.
struct Description {
  Common common;
  std::uintptr_t begin = 0;
  std::uintptr_t bytes = 0;
  const std::byte* program = nullptr;
  const std::byte* end = nullptr;

  [[nodiscard]] bool contains(std::uintptr_t address) const noexcept {
    return address >= begin && address - begin < bytes;
  }
};

bool parse_fde(const std::byte* fde, Description& entry) noexcept {
  ByteReader reader = record_at(fde);
  const std::byte* const id_at = reader.at();
  const auto back = reader.fixed<std::uint32_t>();
  if (back == 0 || !parse_common(id_at - back, entry.common)) return false;
  entry.begin = reader.encoded(entry.common.pointer_encoding);
  entry.bytes = reader.encoded(entry.common.pointer_encoding & 0x0F);
  if (entry.common.has_augmentation) reader.skip(reader.uleb());
  entry.program = reader.at();
  entry.end = reader.end();
  return !reader.failed();
}

}  // namespace

const std::byte* find_fde(const std::byte* eh_frame_hdr, std::uintptr_t address) noexcept {
  constexpr std::byte kVersion{1};
  constexpr std::byte kCountEncoding{0x03};                            // 4 bytes, absolute
  constexpr std::byte kTableEncoding{0x3B};                            // 4 bytes, signed, relative to the header
  const std::byte frame_encoding = eh_frame_hdr[1] & std::byte{0x07};  // of the pointer in front of the count
  if (eh_frame_hdr[0] != kVersion || frame_encoding != std::byte{3} || eh_frame_hdr[2] != kCountEncoding ||
      eh_frame_hdr[3] != kTableEncoding) {
    return nullptr;
  }
  struct Entry {
    std::int32_t begin;
    std::int32_t fde;
  };
  std::uint32_t count = 0;
  std::memcpy(&count, eh_frame_hdr + 8, sizeof(count));
  const auto* const table = reinterpret_cast<const Entry*>(eh_frame_hdr + 12);
  const auto offset = static_cast<std::int64_t>(address - reinterpret_cast<std::uintptr_t>(eh_frame_hdr));
  std::uint32_t low = 0;
  for (std::uint32_t high = count; low < high;) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (table[middle].begin <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low == 0 ? nullptr : eh_frame_hdr + table[low - 1].fde;
}

bool is_elsewhere(const std::byte* fde, std::uintptr_t address) noexcept {
  Description entry;
  return parse_fde(fde, entry) && !entry.contains(address);
}

UnwindRule evaluate(const std::byte* fde, std::uintptr_t address) noexcept {
  Description entry;
  if (!parse_fde(fde, entry) || !entry.contains(address)) return {};
  const Common& common = entry.common;
  if (common.is_signal) {
    UnwindRule rule;
    rule.kind = UnwindRule::Kind::kSignal;
    return rule;
  }
  Machine machine(common, entry.begin, address);
  if (!machine.run(common.program, common.end)) return {};
  machine.keep_initial_row();
  if (!machine.run(entry.program, entry.end)) return {};
  return to_rule(machine.row);
}

}  // namespace arenascan::alloc
