// Plans that found something: each is run again in the short form. A plan counts calls, so that what it meets moves
// with the library and with the story; the places around it are met by the even spread.
#pragma once

#include <string_view>

namespace arenascan::test {

struct Found {
  std::string_view story;
  std::string_view plan;
};

inline constexpr Found kFound[] = {
    {"deaf", "read:1+:12"},               // a thread of which /proc told nothing was taken for one that has ended
    {"stopped", "mmap:8+:11"},            // mimalloc crashed in a thread that it had no memory for
    {"stopped", "affinity:1+:1"},         // the C library's last question failed, and with it all of its answer
    {"private", "mprotect:13+:13"},       // a page that was given back at once lay beyond the page map
    {"heap", "madvise:10+:22"},           // memory that the system kept was taken for zero
    {"roots", "open:6:24"},               // a mapping was taken for a device, as its path could not be asked for
    {"roots", "open:4:13"},               // a file's mapping was left out, as nobody told how much of it there is
    {"roots", "ioctl:1+:25,read:7:12"},   // half of /proc/self/maps was taken for all of it
    {"roots", "ioctl:1+:25,open:12:13"},  // as the third
    {"roots", "open:7:24,open:8:24"},     // a registered root whose file could not be asked for its end was left out
    {"fork", "stat:1:12"},                // threads that could not be counted were taken for lost ones
    {"ending", "mmap:8:12,mmap:9:12"},    // a thread had no memory to register its stack with
};

}  // namespace arenascan::test
