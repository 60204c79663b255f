// What the library's own thread does for those outside: it answers their requests, and scans without being asked, by
// kmemleak's rules: the first time after first_scan_s, then every scan_every_s; objects younger than min_age_s are not
// reported, nor those that fewer than min_unref_scans in a row have found at rest.
//
// Age is told by stamps of births (scanner.h): min_age_s before a scan is due, a mark is set, and what is born behind
// it does not count. A scan that is asked for sets its mark and waits so long.
//
// Threads: one at a time; is_off() any. Called by: service; control_fuzzer.
#pragma once

#include <atomic>
#include <cstdint>

#include "api/control/request.h"

namespace arenascan::api::control {

class Control {
 public:
  // By the process's options. Times are those of os_monotonic_ns(). Nothing that takes long is waited for when
  // `goes_on`, which others may change, is false.
  Control(const std::atomic<bool>& goes_on, std::uint64_t now_ns) noexcept;

  [[nodiscard]] std::uint64_t next_ns() const noexcept { return next_ns_; }  // when something is due; UINT64_MAX: never
  void run_due(std::uint64_t now_ns) noexcept;

  // AnswerRequest (conversation.h) of the Control at `self`.
  static bool answer(const Request& request, int body, alloc::FixedText& problem, void* self) noexcept;

  // Whether somebody has switched the scans of this process off, for good.
  static bool is_off() noexcept;

 private:
  // These return 0 or an errno value, of writing to `body`.
  int scan_now(int body) noexcept;
  int scan(std::uint32_t born_before, int body) noexcept;
  int write_stats(int body) const noexcept;
  void schedule(std::uint64_t wait_s) noexcept;

  const std::atomic<bool>& goes_on_;
  static constexpr std::uint64_t kUsualSeconds = 600;  // when the option is 0, and `scan=on` says nothing else

  std::uint64_t every_s_;  // 0: only when asked
  std::uint64_t min_age_ns_;
  std::uint64_t next_ns_ = UINT64_MAX;  // for the mark, or the scan when that is set
  std::uint32_t mark_ = 0;              // 0: not set
  bool scans_stacks_ = true;
  std::uint64_t scans_ = 0;
  std::uint64_t incomplete_ = 0;
};

// Sleeps until then, or until `goes_on` is false, which is what it returns.
bool rest_until(std::uint64_t until_ns, const std::atomic<bool>& goes_on) noexcept;

}  // namespace arenascan::api::control
