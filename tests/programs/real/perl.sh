# Hashes, sorting, patterns, a fork.
# packages: perl
# quick
program() {
  need perl perl
  "$@" perl -e '
    my %h; $h{"key " . ($_ * 7919 % 65537)} .= "$_," for 1 .. 100000;
    my @k = sort { $h{$a} cmp $h{$b} } keys %h;
    my $n = grep { /9{2}.*7$/ } @k;
    my $pid = fork; if (!$pid) { my @x = map { [$_] } 1 .. 1000; exit 7 } waitpid $pid, 0;
    print scalar(@k), " $n $k[0] $k[-1] ", $? >> 8, "\n";'
}
