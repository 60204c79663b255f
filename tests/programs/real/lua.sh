# Strings, coroutines, sorting and a full garbage collection.
# packages: lua5.4
# quick
program() {
  need lua5.4 lua5.4
  "$@" lua5.4 -e '
    local words, count = {}, 0
    for i = 1, 200000 do words[i % 5000 + 1] = ("word %d"):format(i) end
    local function squares(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i) end end) end
    for s in squares(20000) do count = count + s end
    table.sort(words)
    collectgarbage()
    print(#words, words[1], words[#words], count, (table.concat(words, ","):gsub("word", "")):len())'
}
