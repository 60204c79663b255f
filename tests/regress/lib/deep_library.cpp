// A library that frees what others allocated and the other way round.
#include <cstdlib>

extern "C" [[gnu::visibility("default")]] void library_free(void* object);
extern "C" [[gnu::visibility("default")]] void* library_allocate(std::size_t bytes);

void library_free(void* object) { std::free(object); }
void* library_allocate(std::size_t bytes) { return std::malloc(bytes); }
