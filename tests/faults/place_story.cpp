// Places where the only pointer to an object may be, forked children, and what the library tells.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/faults/story.h"

namespace arenascan::test {
namespace {

constexpr std::size_t kPlaceBytes = 8192;
constexpr std::size_t kWord = 700;  // on the last page
constexpr std::size_t kObjectBytes = 150;

// Memory of the program's, or null.
void** map_place(int flags, int fd) {
  void* const place = mmap(nullptr, kPlaceBytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  return place == MAP_FAILED ? nullptr : static_cast<void**>(place);
}

thread_local void* volatile t_object = nullptr;

struct Places {
  void** anonymous;
  void** file;    // private
  void** closed;  // nobody may read it
  void** shared;  // registered
};

[[gnu::noinline]] void fill(const Places& places) {
  for (void** const place : {places.anonymous, places.file, places.closed, places.shared}) {
    if (place != nullptr) place[kWord] = get_filled(kObjectBytes);
  }
  t_object = get_filled(kObjectBytes);
}

void check_filled_place(void** place) {
  if (place != nullptr && place[kWord] != nullptr) check_filled(place[kWord], kObjectBytes);
}

// What can be told of an object, and has to be whole if it was.
void explain(const void* object, bool (*is_right)(int result, int error)) {
  int ends[2];
  if (pipe(ends) != 0) return;
  for (const auto tell : {arena_dump, arena_retainers}) {
    errno = 0;
    const int result = tell(object, ends[1]);
    CHECK(is_right(result, errno));
    if (result != 0) continue;
  }
  close(ends[1]);
  static char text[1 << 16];
  std::size_t length = 0;
  for (ssize_t got = 1; got > 0 && length<sizeof(text); length += got> 0 ? static_cast<std::size_t>(got) : 0) {
    got = read(ends[0], text + length, sizeof(text) - length);
    if (got < 0 && errno == EINTR) got = 1, --length;
  }
  close(ends[0]);
}

// A thread that was joined is gone for the kernel a moment later; a fork before that has lost one.
void wait_until_alone() {
  struct stat tasks {};
  for (int i = 0; i < 200 && (stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink > 3); ++i) sleep_us(1'000);
}

void child_of(int (*story)()) {
  const pid_t child = fork();
  if (child == 0) _exit(story());
  if (child < 0) {
    CHECK(errno == EAGAIN || errno == ENOMEM);
    return;
  }
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

void tell_roots_story() {
  Places places{};
  places.anonymous = map_place(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  places.closed = map_place(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  const int file = memfd_create("place", MFD_CLOEXEC);
  if (ftruncate(file, kPlaceBytes) == 0) {
    places.file = map_place(MAP_PRIVATE, file);
    places.shared = map_place(MAP_SHARED, file);
  }
  if (places.shared != nullptr && arena_add_root(places.shared, kPlaceBytes) != 0) {
    CHECK(errno == ENOMEM);
    places.shared = nullptr;
  }
  fill(places);
  const bool is_closed = places.closed != nullptr && mprotect(places.closed, kPlaceBytes, PROT_NONE) == 0;
  lose(4, 60);
  scan_and_check(Beside::kNo);
  {
    const Holders holders(1, Holders::Ears::kOpen);
    scan_and_check(Beside::kNo);
    scan_and_check(Beside::kNo);
  }
  check_filled_place(places.anonymous);
  check_filled_place(places.file);
  check_filled_place(places.shared);
  if (!is_closed) check_filled_place(places.closed);
}

void tell_fork_story() {
  static void* kept = get_filled(kObjectBytes);
  lose(4, 70);
  const auto story = [] {
    lose(6, 90);
    scan_and_check(Beside::kNo);
    scan_and_check(Beside::kYes);
    if (kept != nullptr) check_filled(kept, kObjectBytes);
    return finish();
  };
  child_of(story);
  scan_and_check(Beside::kNo);
  {
    const Holders holders(2, Holders::Ears::kOpen);
    child_of([] {
      forget_lost();  // a thread that is no more may have held it
      lose(6, 90);
      scan_and_check(Beside::kNo);
      return finish();
    });
    scan_and_check(Beside::kNo);
  }
  wait_until_alone();
  child_of(story);
}

void tell_explain_story() {
  static void** kept = static_cast<void**>(std::calloc(1, 500));
  if (kept != nullptr) kept[3] = get_filled(kObjectBytes);
  lose(5, 130);
  scan_and_check(Beside::kNo);
  const auto is_right = [](int result, int error) {
    return result == 0 || error == EAGAIN || error == EIO || error == ENOSPC || error == ENOMEM;
  };
  if (kept != nullptr && kept[3] != nullptr) explain(kept[3], is_right);
  {
    const Holders holders(2, Holders::Ears::kOpen);
    if (kept != nullptr && kept[3] != nullptr) explain(kept[3], is_right);
  }
  const int file = memfd_create("report", MFD_CLOEXEC);
  for (int i = 0; file >= 0 && i < 2; ++i) {
    const bool is_complete = scan_and_check(Beside::kNo);
    const off_t before = lseek(file, 0, SEEK_END);
    errno = 0;
    const int result = arena_report(file, "text");
    CHECK(is_right(result, errno));
    static char text[1 << 16];
    const ssize_t length = pread(file, text, sizeof(text) - 1, before);
    if (result != 0 || length < 0) continue;
    text[length] = 0;
    char summary[100];
    std::snprintf(summary, sizeof(summary), "SUMMARY: LeakSanitizer: %llu byte(s) leaked in %llu allocation(s).",
                  static_cast<unsigned long long>(lost().bytes), static_cast<unsigned long long>(lost().objects));
    const bool says_all = std::strstr(text, is_complete ? summary : "incomplete") != nullptr;
    if (!says_all) std::fprintf(stderr, "the report: %s\n", text);
    CHECK(says_all || (is_complete && lost().objects == 0));
  }
  if (file >= 0) close(file);
}

}  // namespace arenascan::test
