# Threads, fibers, forks, compaction, and a garbage collector that scans stacks itself.
# packages: ruby
# options: use_unaligned=1
# quick
program() {
  need ruby ruby
  cat >main.rb <<'RUBY'
require 'json'
require 'digest'
require 'set'
Item = Struct.new(:id, :name)
items = Array.new(30_000) { |i| Item.new(i, "item #{i * 7919 % 65_537}") }
text = JSON.generate(items.map(&:to_h))
puts Digest::SHA256.hexdigest(text)[0, 16], JSON.parse(text).sum { |h| h['id'] }
sums = 4.times.map { |n| Thread.new { (1..20_000).map { |i| [i, i.to_s * (n + 1)] }.to_h.values.join.size } }.map(&:value)
p sums
squares = Fiber.new { 1.step { |i| Fiber.yield i * i } }
p 5000.times.sum { squares.resume }
fibers = Array.new(200) { |i| Fiber.new { x = 'y' * i; Fiber.yield; x.size } }
fibers.each(&:resume)
GC.start
p fibers.sum(&:resume)
begin
  GC.compact
rescue NotImplementedError
  nil
end
p items.group_by { |i| i.name[-1] }.transform_values(&:size).sort.first(3), 3**200
pid = fork { exit 7 }
p Process.wait2(pid)[1].exitstatus
p `echo from a shell`, items.map(&:name).to_set.size, text.scan(/item (\d+)99"/).size
begin
  raise ArgumentError, 'expected'
rescue ArgumentError => e
  puts e.message
end
GC.stress = true
p Array.new(30) { |i| [i, "#{i}"] }.flatten.size
RUBY
  "$@" ruby main.rb
}
