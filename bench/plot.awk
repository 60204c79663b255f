# plot.awk -v peers="..." -v base=PEER -v title="..." -v measure=UNIT: medians (unit, shape, peer, value) to an SVG bar chart. A bar is a
# ratio to the base's value on a logarithmic axis: above the line is slower (or bigger), below it faster. Micro benches stay
# in the table.
BEGIN {
  FS = "\t"
  count = split(peers, names, " ")
  split("glibc #8d99ae jemalloc #b8c0cc tcmalloc #5c677d lsan #e0a458 heaptrack #c8553d off #a8dadc fp #457b9d full #1d3557 shared #457b9d bdwgc #5c677d valgrind #c8553d", pairs, " ")
  for (i = 1; i in pairs; i += 2) color[pairs[i]] = pairs[i + 1]
  for (i = 1; i <= count; ++i) if (names[i] != base) bar[++bars] = names[i]
}
$1 != "micro" {
  if (!($2 in seen)) { seen[$2] = 1; shape[++shapes] = $2; unit[shapes] = $1 }
  value[$2, $3] = $4
}
function y(ratio) { return top + height * (log(most) - log(ratio)) / (log(most) - log(least)) }
function text(px, py, size, anchor, words, more) {
  printf "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\"%s>%s</text>\n", px, py, size, anchor, more, words
}
END {
  wide = 13; gap = 26; left = 60; top = 78; height = 420; most = 2; least = 0.5
  for (s = 1; s <= shapes; ++s)
    for (b = 1; b <= bars; ++b)
      if ((shape[s], bar[b]) in value && value[shape[s], base] > 0) {
        ratio = value[shape[s], bar[b]] / value[shape[s], base]
        while (ratio * 1.4 > most) most *= 2
        while (ratio / 1.4 < least) least /= 2
      }
  width = left + shapes * (bars * wide + gap) + 20
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" fill=\"#222\">\n", width, top + height + 60
  print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
  text(left, 26, 17, "start", title, " font-weight=\"bold\"")
  px = left
  for (b = 1; b <= bars; ++b) {
    printf "<rect x=\"%d\" y=\"42\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", px, color[bar[b]]
    label = bar[b] ~ /^(off|fp|full)$/ ? "ours, stacks=" bar[b] : bar[b] == "lsan" ? "LeakSanitizer" : bar[b] == "shared" ? "ours, processors idle" : bar[b]
    text(px + 17, 53, 13, "start", label)
    px += 36 + 8 * length(label)
  }
  for (line = least; line <= most; line *= 2) {
    printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", left, width - 20, y(line), y(line), line == 1 ? "#222" : "#ddd"
    text(left - 8, y(line) + 4, 12, "end", line "x")
  }
  for (s = 1; s <= shapes; ++s) {
    px = left + gap / 2 + (s - 1) * (bars * wide + gap)
    text(px + bars * wide / 2, top + height + 24, 13, "middle", unit[s] == "rss" ? "live, peak RSS" : shape[s])
    one = value[shape[s], base]
    text(px + bars * wide / 2, top + height + 42, 11, "middle", sprintf(unit[s] == "rss" ? "1x = %d MiB" : "1x = %.3g " measure, unit[s] == "rss" ? one / 1024 : one), " fill=\"#777\"")
    for (b = 1; b <= bars; ++b) {
      if (!((shape[s], bar[b]) in value) || one <= 0) continue
      ratio = value[shape[s], bar[b]] / one
      high = ratio > 1 ? y(ratio) : y(1)
      low = ratio > 1 ? y(1) : y(ratio)
      x = px + (b - 1) * wide
      printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"%s\"/>\n", x, high, wide - 1, low - high < 1 ? 1 : low - high, color[bar[b]]
      turn = sprintf(" transform=\"rotate(-90 %.1f %.1f)\"", x + 10, high - 4)
      text(x + 10, high - 4, 10, "start", sprintf(ratio < 10 ? "%.2f" : "%.0f", ratio), turn)
    }
  }
  print "</svg>"
}
