-- Users, roles and grants for a ClickHouse whose users are managed by SQL, such as ClickHouse Cloud.
-- Made from clickhouse/config/users.xml by `PYTHONPATH=scripts python -m stack.grants`; do not edit.
-- Put the passwords of .env in place of the {names}, and run it as an admin.

CREATE ROLE IF NOT EXISTS loader_role;
GRANT SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE ON raw.* TO loader_role;
GRANT SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE ON ops.* TO loader_role;
GRANT SHOW TABLES ON analytics.* TO loader_role;
GRANT SHOW TABLES ON analytics_dev.* TO loader_role;
GRANT SET DEFINER ON loader TO loader_role;
GRANT TABLE ENGINE ON MergeTree TO loader_role;
GRANT TABLE ENGINE ON ReplacingMergeTree TO loader_role;
GRANT TABLE ENGINE ON Memory TO loader_role;
GRANT TABLE ENGINE ON Null TO loader_role;
GRANT CREATE TEMPORARY TABLE ON *.* TO loader_role;
GRANT SELECT ON system.* TO loader_role;

CREATE ROLE IF NOT EXISTS transformer_role;
GRANT SHOW, SELECT ON raw.* TO transformer_role;
GRANT SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE, dictGet ON analytics.* TO transformer_role;
GRANT SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE, dictGet ON analytics_dev.* TO transformer_role;
GRANT SHOW, SELECT, INSERT ON ops.* TO transformer_role;
GRANT SET DEFINER ON dbt TO transformer_role;
GRANT TABLE ENGINE ON MergeTree TO transformer_role;
GRANT TABLE ENGINE ON ReplacingMergeTree TO transformer_role;
GRANT TABLE ENGINE ON SummingMergeTree TO transformer_role;
GRANT TABLE ENGINE ON AggregatingMergeTree TO transformer_role;
GRANT TABLE ENGINE ON CollapsingMergeTree TO transformer_role;
GRANT TABLE ENGINE ON VersionedCollapsingMergeTree TO transformer_role;
GRANT TABLE ENGINE ON Memory TO transformer_role;
GRANT TABLE ENGINE ON Null TO transformer_role;
GRANT CREATE TEMPORARY TABLE ON *.* TO transformer_role;
GRANT SELECT ON system.* TO transformer_role;

CREATE ROLE IF NOT EXISTS reader_role;
GRANT SHOW, SELECT, dictGet ON analytics.* TO reader_role;
GRANT SHOW, SELECT ON ops.* TO reader_role;
GRANT CREATE TEMPORARY TABLE ON *.* TO reader_role;

CREATE USER IF NOT EXISTS loader IDENTIFIED BY '{CLICKHOUSE_LOADER_PASSWORD}';
ALTER USER loader SETTINGS max_memory_usage = 4000000000, log_queries = 1, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT loader_role TO loader;

CREATE USER IF NOT EXISTS dbt IDENTIFIED BY '{CLICKHOUSE_DBT_PASSWORD}';
ALTER USER dbt SETTINGS max_memory_usage = 4000000000, log_queries = 1, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT transformer_role TO dbt;

CREATE USER IF NOT EXISTS superset IDENTIFIED BY '{CLICKHOUSE_SUPERSET_PASSWORD}';
ALTER USER superset SETTINGS max_memory_usage = 4000000000 MAX 4000000000, log_queries = 1, max_execution_time = 300 MIN 1 MAX 300, readonly = 2, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT reader_role TO superset;
