-- table.sql - what engine_table_open makes for table number 7.
CREATE TABLE t7 (k bytea PRIMARY KEY CHECK (octet_length(k) BETWEEN 1 AND 480), v bytea NOT NULL);
ALTER TABLE t7 ALTER COLUMN v SET STORAGE EXTERNAL;
