-- What the loader's role reads: the tables of public, present and future. With and without the sample shop. Granted once, so that a right
-- which the owner takes away later stays away. Its login, and what neither it nor PUBLIC may do: postgres/upgrade.

SELECT 'CREATE ROLE elt_reader' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'elt_reader') \gexec

-- Every role may connect to a new database unless told otherwise.
REVOKE CONNECT ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO elt_reader;
GRANT USAGE ON SCHEMA public TO elt_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO elt_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO elt_reader;
