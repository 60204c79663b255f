// `arenascan symbolize`: functions, files and lines of code addresses.
//
//   question   MODULE 0xOFFSET          a path, and an address in the file's own terms, inside the call
//   answer     function                 demangled; ?? when unknown
//              file:line:column         ??:0:0 when unknown
//              ...                      more pairs, outwards, for functions that were inlined
//              (empty line)
//
// This is the form of llvm-symbolizer's answers. Debug information comes from the module itself or from a separate file
// that its build id or debug link names; nothing is ever downloaded.
#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cli/commands.h"

namespace arenascan::cli {
namespace {

struct Frame {
  std::string function = "??";
  std::string place = "??:0:0";
};

// A name that was not mangled may pass for that of a type: f for float.
std::string demangle(const char* name) {
  if (!std::string_view(name).starts_with("_Z")) return name;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                          std::free);
  return status == 0 ? plain.get() : name;
}

std::string place_text(const char* file, int line, int column) {
  if (file == nullptr) return "??:0:0";
  return std::filesystem::path(file).lexically_normal().string() + ":" + std::to_string(line) + ":" +
         std::to_string(column);
}

// The name of a function, through its declaration or abstract origin; linkage names are demangled to full signatures.
std::string function_name(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  for (const unsigned name : {unsigned{DW_AT_linkage_name}, unsigned{DW_AT_MIPS_linkage_name}}) {
    if (dwarf_attr_integrate(die, name, &attribute) == nullptr) continue;
    if (const char* const text = dwarf_formstring(&attribute)) return demangle(text);
  }
  if (dwarf_attr_integrate(die, DW_AT_name, &attribute) != nullptr) {
    if (const char* const text = dwarf_formstring(&attribute)) return text;
  }
  return "??";
}

// Declared as part of whatever it is inlined in.
bool is_artificial(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  bool value = false;
  return dwarf_attr_integrate(die, DW_AT_artificial, &attribute) != nullptr &&
         dwarf_formflag(&attribute, &value) == 0 && value;
}

int integer(Dwarf_Die* die, unsigned name) {
  Dwarf_Attribute attribute;
  Dwarf_Word value = 0;
  if (dwarf_attr(die, name, &attribute) == nullptr || dwarf_formudata(&attribute, &value) != 0) return 0;
  return static_cast<int>(value);
}

// One module's debug information. Offsets are addresses of the file; the module is reported at its own addresses.
class Module {
 public:
  explicit Module(const std::string& path) : dwfl_(dwfl_begin(&kCallbacks), dwfl_end) {
    if (dwfl_ == nullptr) return;
    dwfl_report_begin(dwfl_.get());
    module_ = dwfl_report_elf(dwfl_.get(), path.c_str(), path.c_str(), -1, 0, true);
    dwfl_report_end(dwfl_.get(), nullptr, nullptr);
  }

  std::vector<Frame> frames(Dwarf_Addr offset) {
    std::vector<Frame> found;
    if (module_ != nullptr) {
      // With an address base of 0 a shared object stands where its file says, give or take its first segment.
      Dwarf_Addr bias = 0;
      if (Dwarf_Die* const unit = find_unit(offset, bias)) add_unit_frames(unit, offset - bias, symbol(offset), found);
      if (found.empty() && !symbol(offset).empty()) found.push_back({symbol(offset), "??:0:0"});
    }
    if (found.empty()) found.emplace_back();
    return found;
  }

 private:
  // The compile unit of an address: from .debug_aranges, or, where the compiler wrote none, by asking every unit.
  Dwarf_Die* find_unit(Dwarf_Addr address, Dwarf_Addr& bias) {
    if (Dwarf_Die* const unit = dwfl_module_addrdie(module_, address, &bias)) return unit;
    for (Dwarf_Die* unit = nullptr; (unit = dwfl_module_nextcu(module_, unit, &bias)) != nullptr;) {
      if (dwarf_haspc(unit, address - bias) == 1) return unit;
    }
    return nullptr;
  }

  // Adds the functions around an address, inlined ones too, outermost first. (dwarf_getscopes does not look into
  // namespaces, where clang puts the definitions.)
  static void find_functions(Dwarf_Die* parent, Dwarf_Addr address, std::vector<Dwarf_Die>& functions) {
    Dwarf_Die child;
    if (dwarf_child(parent, &child) != 0) return;
    do {
      const int tag = dwarf_tag(&child);
      const bool is_function = tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
      if (is_function || tag == DW_TAG_lexical_block) {
        if (dwarf_haspc(&child, address) != 1) continue;
        if (is_function) functions.push_back(child);
        find_functions(&child, address, functions);
        return;
      }
      if (tag == DW_TAG_namespace || tag == DW_TAG_class_type || tag == DW_TAG_structure_type || tag == DW_TAG_module) {
        find_functions(&child, address, functions);
        if (!functions.empty()) return;
      }
    } while (dwarf_siblingof(&child, &child) == 0);
  }

  // `symbol` is what the symbol table calls the function that was not inlined: it knows the namespaces of functions
  // that have no linkage name.
  static void add_unit_frames(Dwarf_Die* unit, Dwarf_Addr in_file, const std::string& symbol,
                              std::vector<Frame>& found) {
    std::string place = line_of(unit, in_file);
    std::vector<Dwarf_Die> functions;
    find_functions(unit, in_file, functions);
    for (; !functions.empty(); functions.pop_back()) {
      const bool is_outermost = functions.size() == 1;
      if (is_outermost || !is_artificial(&functions.back())) {
        found.push_back({is_outermost && !symbol.empty() ? symbol : function_name(&functions.back()), place});
      }
      if (!is_outermost) place = call_site(unit, &functions.back());
    }
  }

  static std::string line_of(Dwarf_Die* unit, Dwarf_Addr address) {
    Dwarf_Line* const line = dwarf_getsrc_die(unit, address);
    if (line == nullptr) return "??:0:0";
    int number = 0;
    int column = 0;
    dwarf_lineno(line, &number);
    dwarf_linecol(line, &column);
    return place_text(dwarf_linesrc(line, nullptr, nullptr), number, column);
  }

  // Where an inlined function was called from.
  static std::string call_site(Dwarf_Die* unit, Dwarf_Die* inlined) {
    Dwarf_Files* files = nullptr;
    std::size_t count = 0;
    if (dwarf_getsrcfiles(unit, &files, &count) != 0) return "??:0:0";
    const auto file = static_cast<std::size_t>(integer(inlined, DW_AT_call_file));
    const char* const name = file < count ? dwarf_filesrc(files, file, nullptr, nullptr) : nullptr;
    return place_text(name, integer(inlined, DW_AT_call_line), integer(inlined, DW_AT_call_column));
  }

  [[nodiscard]] std::string symbol(Dwarf_Addr address) const {
    const char* const name = dwfl_module_addrname(module_, address);
    return name == nullptr ? std::string() : demangle(name);
  }

  static const Dwfl_Callbacks kCallbacks;

  std::unique_ptr<Dwfl, decltype(&dwfl_end)> dwfl_;
  Dwfl_Module* module_ = nullptr;
};

char* g_debug_path = nullptr;  // null: the default places

const Dwfl_Callbacks Module::kCallbacks = {dwfl_build_id_find_elf, dwfl_standard_find_debuginfo,
                                           dwfl_offline_section_address, &g_debug_path};

}  // namespace

int symbolize() {
  unsetenv("DEBUGINFOD_URLS");
  std::map<std::string, Module> modules;
  std::map<std::string, std::string> answers;
  for (std::string question; std::getline(std::cin, question);) {
    std::string& answer = answers[question];
    if (answer.empty()) {
      const std::size_t space = question.rfind(' ');
      std::vector<Frame> frames(1);
      if (space != std::string::npos) {
        const std::string path = question.substr(0, space);
        const Dwarf_Addr offset = std::strtoull(question.c_str() + space + 1, nullptr, 16);
        frames = modules.try_emplace(path, path).first->second.frames(offset);
      }
      for (const Frame& frame : frames) answer += frame.function + "\n" + frame.place + "\n";
      answer += "\n";
    }
    std::cout << answer << std::flush;
  }
  return 0;
}

}  // namespace arenascan::cli
