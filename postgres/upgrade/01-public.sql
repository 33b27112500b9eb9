-- Takes from PUBLIC, and so from the loader's role, what leaves something behind in this database or in those of the server itself.

REVOKE CREATE, TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- Databases that come with the server: nobody but a superuser needs them, and the functions below are PUBLIC's in them.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname)
FROM pg_database
WHERE datname IN ('postgres', 'template1') AND datname <> current_database() \gexec

-- Functions that write large objects, and one that writes messages to the log; lo_import and lo_export are a superuser's already.
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS granted
WHERE
    p.pronamespace = 'pg_catalog'::regnamespace
    AND p.proname IN (
        'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'lowrite',
        'pg_logical_emit_message'
    )
    AND granted.grantee = 0 \gexec
