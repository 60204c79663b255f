// dies: ^arenascan: arena_enable without a matching arena_disable on this thread$
#include <arenascan/arena.h>

int main() { arena_enable(); }
