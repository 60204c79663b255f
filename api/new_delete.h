// Which of the entry points are operator new's.
#pragma once

#include <cstdint>

namespace arenascan::api {

// Family bits (alloc/layout.h) of an allocation through `entry`, one of this library's entry points.
std::uint8_t family_of_new(const void* entry) noexcept;

}  // namespace arenascan::api
