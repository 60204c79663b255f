# A cluster made, started and put under pgbench; sorts, joins, parallel plans and functions by psql, which is watched too.
# packages: postgresql-15 postgresql-client-15
program() {
  local bin=/usr/lib/postgresql/15/bin as=()
  [ -x "$bin/postgres" ] || { echo "postgres is not installed: apt-get install postgresql-15"; exit 1; }
  if [ "$(id -u)" -eq 0 ]; then  # it refuses to run as root
    chown postgres . && as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  fi
  export HOME=$PWD PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres
  "${as[@]}" "$@" "$bin/initdb" -D data -U postgres -A trust --no-sync -E UTF8 --locale=C >initdb.log 2>&1 || { cat initdb.log; return 1; }
  "${as[@]}" "$@" "$bin/postgres" -D data -h 127.0.0.1 -p "$port" -k '' -F -c autovacuum_naptime=1 >server.log 2>&1 &
  serve $! || return
  for _ in $(seq 100); do "$bin/pg_isready" -q && break; sleep 0.1; done
  "$bin/pgbench" -i -q -s 1 >pgbench.log 2>&1 || cat pgbench.log
  "$bin/pgbench" -c 4 -j 2 -t 200 --random-seed=1 2>&1 | grep -E '^number of (transactions|failed)'
  "$@" "$bin/psql" -X -A -t <<'SQL'
SELECT count(*), sum(abalance) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_accounts;
SELECT count(*) FROM pgbench_history;
CREATE TABLE item AS SELECT i AS id, md5(i::text) AS name, i * 7919 % 1000 AS kind FROM generate_series(1, 100000) i;
SET max_parallel_maintenance_workers = 2;
CREATE INDEX ON item(name);
ANALYZE item;
SET work_mem = '256kB';
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT kind, count(*), min(name), max(name) FROM item GROUP BY kind ORDER BY kind LIMIT 5;
SELECT count(*), sum(a.id) FROM item a JOIN item b ON a.name = b.name WHERE b.kind < 100;
SELECT md5(string_agg(name, ',' ORDER BY name DESC)) FROM item;
SELECT md5(jsonb_agg(to_jsonb(item) ORDER BY id)::text) FROM item WHERE kind = 7;
CREATE FUNCTION steps(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE count int := 0;
BEGIN
  WHILE n <> 1 LOOP n := CASE WHEN n % 2 = 0 THEN n / 2 ELSE 3 * n + 1 END; count := count + 1; END LOOP;
  RETURN count;
EXCEPTION WHEN OTHERS THEN RETURN -1;
END $$;
SELECT sum(steps(i)) FROM generate_series(1, 2000) i;
SELECT regexp_replace(name, '[a-f]+', '-', 'g') FROM item WHERE id = 4711;
VACUUM FULL item;
SELECT pg_size_pretty(pg_relation_size('item'));
SELECT 1 / 0;
SQL
  stop INT
}
