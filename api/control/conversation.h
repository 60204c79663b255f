// One connection: a request is read, answered, and the answer sent.
//
// Whoever is on the other side may say nothing, say too much, never read, or hang up: the line has to come within
// kRequestMs, the answer has to be taken within kAnswerMs, and what does not keep to it is left alone. The answer is
// complete before its first byte is sent, in a file in memory, so that no lock is held while somebody does not read.
//
// Threads: any; no state. Called by: listener thread; control_fuzzer.
#pragma once

#include <atomic>

#include "api/control/request.h"

namespace arenascan::api::control {

inline constexpr int kRequestMs = 1'000;
inline constexpr int kAnswerMs = 10'000;

// Answers into `body`. False: `problem` says why not, in one line.
using AnswerRequest = bool (*)(const Request& request, int body, alloc::FixedText& problem, void* argument);

// `connection` is a connected stream socket, and stays open. Changes no errno, raises no SIGPIPE.
void converse(int connection, AnswerRequest answer, void* argument) noexcept;

// In the child of a fork: closes what a conversation of the parent's had open at that moment.
void abandon_conversation() noexcept;

}  // namespace arenascan::api::control
