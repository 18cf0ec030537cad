-- session.sql - sent once on each new connection, in one pipeline, before anything else.
SET search_path = samovar_jobs;
SET synchronous_commit = on;
SET statement_timeout = '10s';
SET lock_timeout = '5s';
SET idle_in_transaction_session_timeout = '10s';
SET client_min_messages = warning;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
