#!/bin/sh
# expect.sh PROGRAM SOURCE: the program must die of SIGABRT and say, in one line on standard error, what the first line of
# its source asks for: `// dies: REGEX` (extended).
pattern=$(sed -n '1s|^// dies: ||p' "$2")
[ -n "$pattern" ] || { echo "$2: the first line must be \`// dies: REGEX\`"; exit 1; }
said=$("$1" 2>&1 >/dev/null)
status=$?
[ "$status" -eq 134 ] || { echo "exit status $status instead of 134 (SIGABRT); it said: $said"; exit 1; }
printf '%s\n' "$said" | grep -Eq "$pattern" || { echo "said: $said"; echo "which does not match: $pattern"; exit 1; }
[ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] || { echo "said more than one line: $said"; exit 1; }
