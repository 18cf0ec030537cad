-- statements.sql - every statement that the engine prepares on a connection; those of one table for table number 7.
-- docs/adr/0010-store-engines.md says which operation each belongs to.

-- tables
PREPARE table_find (text) AS SELECT number FROM engine_tables WHERE name = $1;
PREPARE table_add (text) AS INSERT INTO engine_tables (name) VALUES ($1) RETURNING number;
PREPARE table_forget (text) AS DELETE FROM engine_tables WHERE name = $1 RETURNING number;
PREPARE table_names AS SELECT name, number FROM engine_tables ORDER BY name;
PREPARE table_count (regclass) AS SELECT greatest(reltuples, 0)::bigint, pg_total_relation_size(oid) / 8192 FROM pg_class WHERE oid = $1;

-- rows
PREPARE get_7 (bytea) AS SELECT v FROM t7 WHERE k = $1;
PREPARE put_7 (bytea, bytea) AS INSERT INTO t7 (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v;
PREPARE insert_7 (bytea, bytea) AS INSERT INTO t7 (k, v) VALUES ($1, $2) ON CONFLICT (k) DO NOTHING;
PREPARE delete_7 (bytea) AS DELETE FROM t7 WHERE k = $1;
PREPARE claim_7 (bytea) AS SELECT v FROM t7 WHERE k = $1 FOR UPDATE SKIP LOCKED;

-- cursors
PREPARE at_least_7 (bytea, int) AS SELECT k, v FROM t7 WHERE k >= $1 ORDER BY k LIMIT $2;
PREPARE above_7 (bytea, int) AS SELECT k, v FROM t7 WHERE k > $1 ORDER BY k LIMIT $2;
PREPARE below_7 (bytea, int) AS SELECT k, v FROM t7 WHERE k < $1 ORDER BY k DESC LIMIT $2;

-- life
PREPARE share (text) AS SELECT pg_advisory_lock_shared(hashtextextended($1, 0));
PREPARE unshare (text) AS SELECT pg_advisory_unlock_shared(hashtextextended($1, 0));
PREPARE alone (text) AS SELECT pg_advisory_lock(hashtextextended($1, 0));
PREPARE not_alone (text) AS SELECT pg_advisory_unlock(hashtextextended($1, 0));
PREPARE sweeper (text) AS SELECT pg_try_advisory_xact_lock(hashtextextended($1, 1));
PREPARE clock AS SELECT (extract(epoch FROM transaction_timestamp()) * 1000)::bigint;
PREPARE number AS SELECT pg_current_xact_id_if_assigned();
PREPARE outcome (xid8) AS SELECT pg_xact_status($1);
PREPARE server AS SELECT current_setting('server_version_num')::int >= 150000, current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), pg_is_in_recovery();
PREPARE stat AS SELECT pg_database_size(current_database()), pg_snapshot_xmax(pg_current_snapshot()), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid());
