-- operations.sql - each operation of store/engine.h once, on one connection; operations.out is what must come.
\pset format unaligned
\pset tuples_only on
\pset null NULL
\set VERBOSITY sqlstate

\echo -- engine_open: may this server be used? (this one not: fsync is off)
EXECUTE server;

\echo -- engine_table_open, engine_table_names, a name longer than an identifier
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
EXECUTE table_find ('t.nobody');
EXECUTE table_add ('i.abcdefghijklmnopqrstuvwxyz012345.abcdefghijklmnopqrstuvwxyz012345');
EXECUTE table_add ('t.jobs');
EXECUTE table_find ('t.jobs');
EXECUTE table_names;
ROLLBACK;

\echo -- engine_put, engine_get: key order is that of memcmp, a shorter key first; empty values
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
EXECUTE put_7 ('\x02', '\x');
EXECUTE put_7 ('\x0180', '\xb1');
EXECUTE put_7 ('\x01ff', '\xb2');
EXECUTE put_7 ('\x017f', '\xb0');
EXECUTE put_7 ('\x01', '\xaa');
EXECUTE put_7 ('\xff', '\xcc');
EXECUTE put_7 ('\x0100', '\xab');
EXECUTE put_7 ('\x0180', '\xbeef');
EXECUTE get_7 ('\x0180');
EXECUTE get_7 ('\x02');
EXECUTE get_7 ('\x03');

\echo -- insert only: the tag tells a conflict, the transaction goes on
EXECUTE insert_7 ('\x0180', '\x00');
EXECUTE insert_7 ('\x04', '\xdd');
EXECUTE get_7 ('\x0180');

\echo -- engine_delete: the tag tells what was not there
EXECUTE delete_7 ('\x04');
EXECUTE delete_7 ('\x04');
COMMIT;

\echo -- engine_at_least and engine_next in batches of three
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
EXECUTE at_least_7 ('\x0100', 3);
\echo ...
EXECUTE above_7 ('\x0180', 3);
\echo ...
EXECUTE above_7 ('\xff', 3);

\echo -- engine_last_below and engine_previous
EXECUTE below_7 ('\x02', 3);
\echo ...
EXECUTE below_7 ('\x0100', 3);
COMMIT;

\echo -- engine_nest: its abort undoes it alone, its commit keeps it
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
SAVEPOINT n1;
EXECUTE put_7 ('\x05', '\x01');
SAVEPOINT n2;
EXECUTE put_7 ('\x06', '\x02');
ROLLBACK TO SAVEPOINT n2;
RELEASE SAVEPOINT n2;
EXECUTE get_7 ('\x06');
RELEASE SAVEPOINT n1;
EXECUTE get_7 ('\x05');
ROLLBACK;
EXECUTE get_7 ('\x05');

\echo -- a statement that fails leaves a transaction that can only be undone
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
EXECUTE put_7 ('\x', '\x01');
EXECUTE get_7 ('\x01');
COMMIT;

\echo -- no write in a read
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
EXECUTE put_7 ('\x05', '\x01');
ROLLBACK;

\echo -- one clock for all machines, the same for the whole transaction
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
EXECUTE clock \gset a_
SELECT pg_sleep(0.01);
EXECUTE clock \gset b_
SELECT :a_int8 = :b_int8, abs(:a_int8 - extract(epoch FROM clock_timestamp()) * 1000) < 60000;
ROLLBACK;

\echo -- what became of a transaction whose COMMIT was not answered
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
EXECUTE number;
EXECUTE put_7 ('\x05', '\x01');
EXECUTE number \gset done_
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;
EXECUTE put_7 ('\x05', '\x02');
EXECUTE number \gset undone_
ROLLBACK;
EXECUTE outcome (:'done_pg_current_xact_id_if_assigned');
EXECUTE outcome (:'undone_pg_current_xact_id_if_assigned');

\echo -- engine_table_clear, engine_table_count, engine_table_drop
ANALYZE t7;
EXECUTE table_count ('t7');
BEGIN;
TRUNCATE t7;
EXECUTE at_least_7 ('\x00', 10);
ROLLBACK;
BEGIN;
DROP TABLE t7;
EXECUTE table_forget ('t.seven');
ROLLBACK;
EXECUTE get_7 ('\x01');

\echo -- a row of 16 KiB is kept as it is
EXECUTE put_7 ('\x08', decode(repeat('ab', 16384), 'hex'));
SELECT octet_length(v), pg_column_size(v) FROM t7 WHERE k = '\x08';
EXECUTE delete_7 ('\x08');

\echo -- two that build an index or migrate exclude each other; those who only work share
EXECUTE share ('samovar/jobs');
EXECUTE unshare ('samovar/jobs');
EXECUTE alone ('samovar/jobs');
EXECUTE share ('samovar/jobs');
EXECUTE not_alone ('samovar/jobs');
BEGIN;
EXECUTE sweeper ('samovar/jobs');
COMMIT;
