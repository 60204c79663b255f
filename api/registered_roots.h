// Roots that the C functions register, for the process and for private heaps.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "scan/roots.h"

namespace arenascan::api {

inline scan::AddressRange registered_range(const void* p, std::size_t size) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(p);
  return {begin, begin + size};
}

// 0, or what errno is to say.
inline int add_root(scan::UserRoots& roots, const void* p, std::size_t size) noexcept {
  const scan::AddressRange range = registered_range(p, size);
  if (range.end < range.begin) return EINVAL;
  return roots.add(range) ? 0 : ENOMEM;
}

inline int remove_root(scan::UserRoots& roots, const void* p, std::size_t size) noexcept {
  return roots.remove(registered_range(p, size)) ? 0 : ENOENT;
}

}  // namespace arenascan::api
