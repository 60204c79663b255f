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
    {"private", "mprotect:13+:13"},
};

}  // namespace arenascan::test
