// Allocation traces: records and lines are one to one, bad input is named, other tools' traces mean what they say.
#include <doctest/doctest.h>

#include <sstream>

#include "api/trace/file.h"
#include "api/trace/text.h"
#include "tests/unit/random.h"

using namespace arenascan;
using namespace arenascan::trace;

namespace {

std::string text_of(const Trace& trace) {
  std::string text;
  for (const Record& record : trace) text += to_text(record) + "\n";
  return text;
}

Trace read(const std::string& content) {
  std::istringstream in(content);
  return read_trace(in, "file");
}

std::string complaint_about(const std::string& content) {
  try {
    static_cast<void>(read(content));
  } catch (const BadTrace& problem) {
    return problem.what();
  }
  return "";
}

std::string complaint_about_line(const std::string& line) { return complaint_about("# arenascan trace 1\n" + line); }

}  // namespace

TEST_CASE("any twenty bytes of a known operation are a record, which is one line and back") {
  test::Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    RecordBytes bytes;
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next() >> 20);
    bytes[18] %= kOpCount;
    const std::optional<Record> record = decode(bytes);
    REQUIRE(record);
    REQUIRE(normalized(*record) == *record);
    REQUIRE(decode(encode(*record)) == record);
    const Line line = parse_line(to_text(*record));
    REQUIRE(line.complaint.empty());
    REQUIRE(line.record == record);
  }
  RecordBytes unknown{};
  unknown[18] = kOpCount;
  CHECK(!decode(unknown));
}

TEST_CASE("a file of records and a file of lines say the same") {
  const std::string lines =
      "1 malloc 5 100\n1 calloc 6 10 8\n1 realloc 7 5 18446744073709551615\n1 memalign 8 64 100\n2 new 9 24 1\n"
      "2 new_array 10 24 32\n1 free 6\n1 delete 9\n1 delete_array 10\n1 store 7 16 8 3\n65535 root 2 8 3\n1 scan\n"
      "1 not_leak 8\n1 ignore 8\n1 no_scan 8\n1 disable\n1 enable\n1 start 2\n2 end\n1 fork\n";
  const Trace trace = read("# arenascan trace 1\n\n# a comment\n" + lines);
  CHECK(trace.size() == kOpCount);
  CHECK(text_of(trace) == lines);
  std::ostringstream binary;
  write_binary(binary, trace);
  CHECK(binary.str().size() == 16 + 20 * trace.size());
  CHECK(read(binary.str()) == trace);
  std::ostringstream text;
  write_text(text, trace);
  CHECK(read(text.str()) == trace);
}

TEST_CASE("what is wrong with a trace is said in one line, with the place and what would be right") {
  CHECK(
      complaint_about_line("1 mallok 5 100").starts_with("file:2: unknown operation \"mallok\"; valid: malloc calloc"));
  CHECK(complaint_about_line("x malloc 5 100") ==
        "file:2: \"x\" is no thread; a line begins with a number from 0 to 65535");
  CHECK(complaint_about_line("65536 scan").find("is no thread") != std::string::npos);
  CHECK(complaint_about_line("1 malloc 5") ==
        "file:2: SIZE is \"\", not a number; right is: THREAD malloc OBJECT SIZE");
  CHECK(complaint_about_line("1 malloc 4294967296 5") ==
        "file:2: OBJECT is \"4294967296\", not a number below 2^32; right is: THREAD malloc OBJECT SIZE");
  CHECK(complaint_about_line("1 memalign 5 24 5") ==
        "file:2: ALIGNMENT is \"24\", not a power of two; right is: THREAD memalign OBJECT ALIGNMENT SIZE");
  CHECK(complaint_about_line("1 free 5 6") == "file:2: \"6\" is too much; right is: THREAD free OBJECT");
  CHECK(complaint_about_line("1 free \x01\n").find("\"?\"") != std::string::npos);
  CHECK(complaint_about("").starts_with("file: no trace that is known"));
  CHECK(complaint_about("arenatrc") == "file: not version 1 of the format, whose records have 20 bytes");

  std::ostringstream out;
  write_binary(out, read("# arenascan trace 1\n1 malloc 5 100\n1 scan\n"));
  const std::string binary = out.str();
  CHECK(complaint_about(binary.substr(0, binary.size() - 1)) ==
        "file: record 2 has only 19 of 20 bytes; the file was cut");
  std::string unknown = binary;
  unknown[16 + 18] = 100;
  CHECK(complaint_about(unknown) == "file: record 1: operation 100 is unknown; they go from 0 to 19");
  std::string newer = binary;
  newer[8] = 2;
  CHECK(complaint_about(newer).find("not version 1") != std::string::npos);
}

TEST_CASE("a trace of memory_replay") {
  const Trace trace = read(
      "186: malloc 0xb6038060 20\n186: realloc 0xb6038080 0xb6038060 40 1000 2000\n187: calloc 0xb609f080 32 4\n"
      "187: memalign 0x85423660 16 104\n187: malloc 0 12\n186: free 0xdead\n186: realloc 0xb7 0x0 8\n"
      "186: realloc 0x0 0xb7 0\n186: free 0xb6038080\n187: thread_done 0x0\n");
  CHECK(text_of(trace) ==
        "1 malloc 1 20\n1 realloc 1 1 40\n1 start 2\n2 calloc 2 32 4\n2 memalign 3 16 104\n1 realloc 4 0 8\n1 free 4\n"
        "1 free 1\n2 end\n");
  CHECK(complaint_about("186: malloc 0xb 20\n186 free 0xb\n") ==
        "file:2: a line begins with a thread and a colon, not \"186\"");
  CHECK(complaint_about("186: malloc 0xb\n") == "file:1: size is \"\", not a number");
  CHECK(complaint_about("186: mallocs 0xb 1\n") ==
        "file:1: unknown operation \"mallocs\"; valid: malloc calloc realloc memalign free thread_done");
  CHECK(complaint_about("186: memalign 0xb 3 1\n") == "file:1: 3 is not possible as an alignment");
}

TEST_CASE("an object that is made where another one lives means that the other is gone") {
  CHECK(text_of(read("1: malloc 0xb0 20\n1: malloc 0xb0 30\n1: malloc 0xc0 5\n1: realloc 0xc0 0xb0 7\n")) ==
        "1 malloc 1 20\n1 free 1\n1 malloc 1 30\n1 malloc 2 5\n1 free 2\n1 realloc 1 1 7\n");
}

TEST_CASE("a trace of malloclab") {
  CHECK(text_of(read("20000\n3\n5\n1\na 0 512\na 1 128\nr 0 640\nf 1\nf 0\n")) ==
        "1 malloc 1 512\n1 malloc 2 128\n1 realloc 1 1 640\n1 free 2\n1 free 1\n");
  CHECK(complaint_about("20000\n3\n5\n1\nb 0 512\n") ==
        "file:5: unknown operation \"b\"; valid: a ID SIZE, r ID SIZE, f ID");
  CHECK(complaint_about("20000\n3\n5\n1\na 0\n") == "file:5: SIZE is \"\", not a number");
}

TEST_CASE("a trace of mtrace") {
  CHECK(text_of(read("= Start\n@ ./my program:[0x401136] + 0x1052690 0x18\n@ ./p:(main+0x2a)[0x40] + 0x10526b0 0x20\n"
                     "@ ./p:[0x401150] < 0x1052690\n@ ./p:[0x401150] > 0x10526f0 0x100\n@ ./p:[0x4] ! 0x10526f0 0xfff\n"
                     "@ ./p:[0x40115f] - 0x10526b0\n- 0x1\n= End\n")) ==
        "1 malloc 1 24\n1 malloc 2 32\n1 realloc 1 1 256\n1 free 2\n");
  CHECK(complaint_about("= Start\n@ ./p:[0x40] 0x12\n") ==
        "file:2: \"@ ./p:[0x40] 0x12\" has none of + - < > ! with an address behind it");
}

TEST_CASE("a raw trace of heaptrack") {
  CHECK(text_of(read("v 10300 3\nx 4 /a/b\nt 5581 0\n+ 1c 1 5581d0\n+ 20 1 5581f0\nc 10\n- 5581d0\nR 30\n")) ==
        "1 malloc 1 28\n1 malloc 2 32\n1 free 1\n");
  CHECK(complaint_about("v 10300 3\n+ 1c 1\n") == "file:2: pointer is \"0x\", not a number");
}
