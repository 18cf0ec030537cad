-- plans.sql - every statement of a table uses its index, on an empty table and on a full one.
\pset format unaligned
\pset tuples_only on
BEGIN;
TRUNCATE t7;
\echo -- empty
EXPLAIN (COSTS OFF) EXECUTE get_7 ('\x01');
EXPLAIN (COSTS OFF) EXECUTE at_least_7 ('\x01', 100);
EXPLAIN (COSTS OFF) EXECUTE above_7 ('\x01', 100);
EXPLAIN (COSTS OFF) EXECUTE below_7 ('\x01', 100);
EXPLAIN (COSTS OFF) EXECUTE claim_7 ('\x01');
EXPLAIN (COSTS OFF) EXECUTE delete_7 ('\x01');
INSERT INTO t7 SELECT int8send(i), '\x00' FROM generate_series(1, 20000) i;
ANALYZE t7;
\echo -- 20,000 rows
EXPLAIN (COSTS OFF) EXECUTE get_7 ('\x01');
EXPLAIN (COSTS OFF) EXECUTE at_least_7 ('\x01', 100);
EXPLAIN (COSTS OFF) EXECUTE above_7 ('\x01', 100);
EXPLAIN (COSTS OFF) EXECUTE below_7 ('\x01', 100);
EXPLAIN (COSTS OFF) EXECUTE claim_7 ('\x01');
EXPLAIN (COSTS OFF) EXECUTE delete_7 ('\x01');
ROLLBACK;
