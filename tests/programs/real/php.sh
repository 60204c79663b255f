# Arrays, generators, closures in cycles, JSON, patterns; with PHP's own allocator and without it.
# packages: php-cli
# options: use_past_end=1
# quick
program() {
  need php php-cli
  cat >main.php <<'PHP'
<?php
final class Node { public ?Node $next = null; public function __construct(public int $value) {} }
function squares(int $n): Generator { for ($i = 1; $i <= $n; ++$i) yield $i => $i * $i; }
$items = [];
for ($i = 0; $i < 20000; ++$i) $items["key " . ($i * 7919 % 65537)][] = ["id" => $i, "name" => str_repeat(chr(97 + $i % 26), $i % 50)];
ksort($items);
$text = json_encode($items);
echo strlen($text), " ", md5($text), " ", count(json_decode($text, true)), "\n";
for ($i = 0; $i < 10000; ++$i) { $a = new Node($i); $b = new Node($i + 1); $a->next = $b; $b->next = $a; }
echo gc_collect_cycles() > 0 ? "cycles\n" : "no cycles\n";
echo array_sum(iterator_to_array(squares(5000))), " ", preg_match_all('/"id":(\d+)99/', $text), "\n";
$fiber = new Fiber(function (int $x): int { return Fiber::suspend($x * 2) + 1; });
echo $fiber->start(20), " "; $fiber->resume(41); echo $fiber->getReturn(), "\n";
echo hash("sha256", serialize(unserialize(serialize($items)))), "\n";
try { intdiv(1, 0); } catch (DivisionByZeroError $e) { echo $e->getMessage(), "\n"; }
exit(0);
PHP
  "$@" php -n main.php || return
  USE_ZEND_ALLOC=0 "$@" php main.php
}
