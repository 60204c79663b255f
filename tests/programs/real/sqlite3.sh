# SQL on a table with an index: insert, group, delete, vacuum, integrity check.
# packages: sqlite3
# quick
program() {
  need sqlite3 sqlite3
  "$@" sqlite3 test.db <<SQL
PRAGMA journal_mode=MEMORY;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 50000), i * 0.25 FROM n;
CREATE INDEX by_name ON item(name);
SELECT count(*), sum(price) FROM item;
SELECT * FROM item WHERE name = 'item 4711';
SELECT substr(name, 1, 6) AS k, count(*) FROM item GROUP BY k ORDER BY 2 DESC, 1 LIMIT 10;
DELETE FROM item WHERE id % 3 = 0;
VACUUM;
PRAGMA integrity_check;
SQL
}
