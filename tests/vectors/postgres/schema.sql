-- schema.sql - what the engine makes for an environment of the service "jobs". Tables of the engine get numbers,
-- since their names (up to 67 bytes) may be longer than an identifier of PostgreSQL (63).
CREATE SCHEMA samovar_jobs;
SET search_path = samovar_jobs;
CREATE TABLE engine_tables (number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);
