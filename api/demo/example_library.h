// A library that remembers the last greeting only.
#pragma once

// Keeps a copy of `words`; the copy before it is lost.
void remember_greeting(const char* words);
