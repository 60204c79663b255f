// A library with one global variable, opened while the program runs.
extern "C" [[gnu::visibility("default")]] void* g_library_pointer;
void* g_library_pointer = nullptr;
