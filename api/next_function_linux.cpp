#include <dlfcn.h>

#include "api/next_function.h"

namespace arenascan::api {

void* next_symbol(const char* name) noexcept { return dlsym(RTLD_NEXT, name); }

}  // namespace arenascan::api
