// Explaining one object of the process's heap.
//
// Threads: any, concurrently; the scanner serves one at a time.
#pragma once

namespace arenascan::api {

// Write to `fd` all about the object that `p` points to or into; and why it is reached. Return 0 or an errno value:
// EINVAL when there is no such object, EBUSY from a progress callback, EAGAIN when it could not be told (a line says
// why), or what write gave.
int describe_object(const void* p, int fd) noexcept;
int explain_object(const void* p, int fd) noexcept;

}  // namespace arenascan::api
