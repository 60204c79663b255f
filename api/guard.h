// What costs too much to be always on: frees by the wrong function, memory wiped when it is freed, memory kept from use
// after it was freed and watched meanwhile. Options check_mismatch, zero_on_free and quarantine_mib.
//
// A freed object in quarantine is filled with a pattern and waits in a queue, first in, first out. When it has to make
// room, a byte that is not the pattern's any more tells that somebody wrote to it after it was freed.
//
// Threads: any, concurrently; the queue has a lock, which the fork handlers hold around a fork. Called by: allocate.
#pragma once

#include <cstddef>
#include <cstdint>

#include "api/process.h"

namespace arenascan::api::guard {

// State bits for an allocation through the entry point `entry`.
std::uint8_t family_of(const void* entry) noexcept;

// Frees a live object for the function of the given family. `cache` is the thread's, or null.
void release(alloc::ThreadCache* cache, void* object, std::uint8_t family) noexcept;

void lock() noexcept;
void unlock() noexcept;

}  // namespace arenascan::api::guard
