# A server under its own benchmark.
# packages: redis-server redis-tools
# quick
program() {
  need redis-server redis-server
  need redis-benchmark redis-tools
  "$@" redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --loglevel warning --dir . >server.log 2>&1 &
  serve $! || return
  redis-benchmark -p "$port" -n 10000 -c 20 -q -t set,get,lpush,lpop,sadd,hset,zadd -d 64 -r 10000 2>&1 |
    tr '\r' '\n' | grep -o '^[A-Z]*: [0-9.]* requests per second' | sed 's/:.*//' | sort -u
  redis-cli -p "$port" incr visits
  redis-cli -p "$port" eval "return redis.call('incrby', 'visits', 41)" 0
  stop TERM
}
