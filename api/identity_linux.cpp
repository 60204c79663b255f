// Functions of the C library that change whom a process belongs to, or where it lives, wrapped: the library's own
// thread (control/service.h) must not be there meanwhile. The C library has each thread do as the first did, and ends
// the process when one cannot, as happens where only the first has kept its capabilities; and the kernel gives no new
// namespace to a process that has several threads. Without the option control=1 they cost one load more.
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include "api/control/service.h"
#include "api/next_function.h"
#include "api/process.h"

using namespace arenascan;

const char api::kIdentity = 0;

namespace {

using api::NextFunction;
using api::control::ServicePause;

constinit NextFunction g_setuid{"setuid", &::setuid};
constinit NextFunction g_setgid{"setgid", &::setgid};
constinit NextFunction g_seteuid{"seteuid", &::seteuid};
constinit NextFunction g_setegid{"setegid", &::setegid};
constinit NextFunction g_setreuid{"setreuid", &::setreuid};
constinit NextFunction g_setregid{"setregid", &::setregid};
constinit NextFunction g_setresuid{"setresuid", &::setresuid};
constinit NextFunction g_setresgid{"setresgid", &::setresgid};
constinit NextFunction g_setgroups{"setgroups", &::setgroups};
constinit NextFunction g_initgroups{"initgroups", &::initgroups};
constinit NextFunction g_unshare{"unshare", &::unshare};
constinit NextFunction g_setns{"setns", &::setns};

// May be called from signal handlers, where nothing can be looked up.
[[gnu::constructor]] void resolve_all() noexcept {
  const auto resolve = [](auto&... functions) { (static_cast<void>(functions.get()), ...); };
  resolve(g_setuid, g_setgid, g_seteuid, g_setegid, g_setreuid, g_setregid, g_setresuid, g_setresgid, g_setgroups,
          g_initgroups, g_unshare, g_setns);
}

template <typename Function, typename... Arguments>
int call_alone(NextFunction<Function>& next, Arguments... arguments) noexcept {
  const ServicePause pause;
  return next.get()(arguments...);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int setuid(uid_t user) noexcept { return call_alone(g_setuid, user); }
int setgid(gid_t group) noexcept { return call_alone(g_setgid, group); }
int seteuid(uid_t user) noexcept { return call_alone(g_seteuid, user); }
int setegid(gid_t group) noexcept { return call_alone(g_setegid, group); }
int setreuid(uid_t real, uid_t effective) noexcept { return call_alone(g_setreuid, real, effective); }
int setregid(gid_t real, gid_t effective) noexcept { return call_alone(g_setregid, real, effective); }
int setresuid(uid_t real, uid_t effective, uid_t saved) noexcept {
  return call_alone(g_setresuid, real, effective, saved);
}
int setresgid(gid_t real, gid_t effective, gid_t saved) noexcept {
  return call_alone(g_setresgid, real, effective, saved);
}
int setgroups(size_t count, const gid_t* groups) noexcept { return call_alone(g_setgroups, count, groups); }
int initgroups(const char* user, gid_t group) { return call_alone(g_initgroups, user, group); }
int unshare(int what) noexcept { return call_alone(g_unshare, what); }
int setns(int file, int kind) noexcept { return call_alone(g_setns, file, kind); }

}  // extern "C"
#pragma GCC visibility pop
