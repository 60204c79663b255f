#include "example_library.h"

#include <cstdlib>
#include <cstring>

namespace {

char* g_greeting = nullptr;

}  // namespace

void remember_greeting(const char* words) { g_greeting = strdup(words); }
