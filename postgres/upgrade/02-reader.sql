-- The loader's role as it must be at every boot: its password is the one of POSTGRES_READER_PASSWORD, its sessions are read-only. A role may
-- change both for itself.

-- An owner who has dropped the role reads another source.
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'elt_reader') AS no_reader \gset
\if :no_reader
    \quit
\endif

\getenv reader_password POSTGRES_READER_PASSWORD
\if :{?reader_password}
\else
    \set reader_password ''
\endif
SELECT :'reader_password' = '' AS no_password \gset
\if :no_password
    DO $$ BEGIN
        RAISE EXCEPTION 'POSTGRES_READER_PASSWORD is not set: give the password of role elt_reader in the environment';
    END $$;
\endif

-- The statement with the password must reach neither the server's log nor the list of running statements.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET track_activities = off;
ALTER ROLE elt_reader WITH
    LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS
    PASSWORD :'reader_password';
RESET track_activities;
RESET log_min_error_statement;
RESET log_min_duration_statement;
RESET log_statement;

-- A second fence, for honest mistakes: a session can lift it, but still has no right to write anything.
ALTER ROLE elt_reader SET default_transaction_read_only = on;
ALTER ROLE elt_reader IN DATABASE :"DBNAME" RESET default_transaction_read_only;

REVOKE CREATE, TEMPORARY ON DATABASE :"DBNAME" FROM elt_reader;
REVOKE CREATE ON SCHEMA public FROM elt_reader;

-- For incremental loads: when the oldest open transaction began, which may yet commit rows of before. The role learns that one
-- instant, and nothing of what others do.
CREATE OR REPLACE FUNCTION public.elt_oldest_transaction() RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(a.xact_start) FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
      AND NOT (a.usename = session_user AND a.application_name LIKE 'elt %')
$$;
REVOKE ALL ON FUNCTION public.elt_oldest_transaction() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.elt_oldest_transaction() TO elt_reader;
