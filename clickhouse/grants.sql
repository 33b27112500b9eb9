-- Users, roles and grants for a ClickHouse whose users are managed by SQL, such as ClickHouse Cloud.
-- Made from clickhouse/config/users.xml by `PYTHONPATH=scripts python -m stack.grants`; do not edit.
-- Put the passwords of .env in place of the {names}, and run it as an admin; again after each upgrade.
-- It may be repeated at any time: the one GRANT of a role takes away what the role had beyond it in the same moment, so
-- that nobody is without rights in between. What a user holds beside its role is revoked.

CREATE ROLE IF NOT EXISTS loader_role;
GRANT
    SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE ON raw.*,
    SHOW, SELECT ON ops.*,
    INSERT ON ops.runs,
    INSERT ON ops.loads,
    INSERT ON ops.publishes,
    INSERT ON ops.absences,
    INSERT, CREATE TABLE, DROP TABLE ON ops.lease_*,
    SHOW TABLES ON analytics.*,
    SHOW TABLES ON analytics_dev.*,
    SET DEFINER ON loader,
    TABLE ENGINE ON MergeTree,
    TABLE ENGINE ON ReplacingMergeTree,
    TABLE ENGINE ON Memory,
    TABLE ENGINE ON Null,
    CREATE TEMPORARY TABLE ON *.*,
    SELECT ON system.*
TO loader_role WITH REPLACE OPTION;

CREATE ROLE IF NOT EXISTS transformer_role;
GRANT
    SHOW, SELECT ON raw.*,
    SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE, dictGet ON analytics.*,
    SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE, dictGet ON analytics_dev.*,
    SHOW, SELECT ON ops.*,
    SET DEFINER ON dbt,
    TABLE ENGINE ON MergeTree,
    TABLE ENGINE ON ReplacingMergeTree,
    TABLE ENGINE ON SummingMergeTree,
    TABLE ENGINE ON AggregatingMergeTree,
    TABLE ENGINE ON CollapsingMergeTree,
    TABLE ENGINE ON VersionedCollapsingMergeTree,
    TABLE ENGINE ON Memory,
    TABLE ENGINE ON Null,
    CREATE TEMPORARY TABLE ON *.*,
    SELECT ON system.*
TO transformer_role WITH REPLACE OPTION;

CREATE ROLE IF NOT EXISTS recorder_role;
GRANT
    SHOW, SELECT ON ops.*,
    INSERT ON ops.dbt_runs,
    INSERT ON ops.dbt_nodes,
    INSERT ON ops.dbt_publishes
TO recorder_role WITH REPLACE OPTION;

CREATE ROLE IF NOT EXISTS reader_role;
GRANT
    SHOW, SELECT, dictGet ON analytics.*,
    CREATE TEMPORARY TABLE ON *.*
TO reader_role WITH REPLACE OPTION;

CREATE ROLE IF NOT EXISTS operations_role;
GRANT
    SHOW, SELECT ON ops.*,
    CREATE TEMPORARY TABLE ON *.*
TO operations_role WITH REPLACE OPTION;

CREATE ROLE IF NOT EXISTS reader_california_role;
GRANT
    SHOW, SELECT ON analytics.fact_sales,
    SHOW, SELECT ON analytics.fact_sales_as_sold,
    SHOW, SELECT ON analytics.dim_customers,
    SHOW, SELECT ON analytics.dim_customers_history,
    SHOW, SELECT ON analytics.agg_sales_by_state,
    SHOW, SELECT ON analytics.agg_customer_value,
    SHOW, SELECT ON analytics.agg_cohort_retention,
    SHOW, SELECT ON analytics.dim_products,
    SHOW, SELECT ON analytics.dim_products_history,
    CREATE TEMPORARY TABLE ON *.*
TO reader_california_role WITH REPLACE OPTION;

CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.fact_sales FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.fact_sales FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;
CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.fact_sales_as_sold FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.fact_sales_as_sold FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;
CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.dim_customers FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.dim_customers FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;
CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.dim_customers_history FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.dim_customers_history FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;
CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.agg_sales_by_state FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.agg_sales_by_state FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;
CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.agg_customer_value FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.agg_customer_value FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;
CREATE ROW POLICY OR REPLACE reader_california_role ON analytics.agg_cohort_retention FOR SELECT USING customer_state = 'CA' TO reader_california_role;
CREATE ROW POLICY OR REPLACE others ON analytics.agg_cohort_retention FOR SELECT USING 1 TO ALL EXCEPT reader_california_role;

CREATE USER IF NOT EXISTS loader IDENTIFIED BY '{CLICKHOUSE_LOADER_PASSWORD}';
ALTER USER loader SETTINGS max_memory_usage = 4000000000, log_queries = 1, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT loader_role TO loader WITH REPLACE OPTION;
ALTER USER loader DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM loader;

CREATE USER IF NOT EXISTS dbt IDENTIFIED BY '{CLICKHOUSE_DBT_PASSWORD}';
ALTER USER dbt SETTINGS max_memory_usage = 4000000000, log_queries = 1, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT transformer_role TO dbt WITH REPLACE OPTION;
ALTER USER dbt DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM dbt;

CREATE USER IF NOT EXISTS webhook IDENTIFIED BY '{CLICKHOUSE_WEBHOOK_PASSWORD}';
ALTER USER webhook SETTINGS max_memory_usage = 4000000000, log_queries = 1, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT recorder_role TO webhook WITH REPLACE OPTION;
ALTER USER webhook DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM webhook;

CREATE USER IF NOT EXISTS airflow IDENTIFIED BY '{CLICKHOUSE_AIRFLOW_PASSWORD}';
ALTER USER airflow SETTINGS max_memory_usage = 4000000000 MAX 4000000000, log_queries = 1, max_execution_time = 300 MIN 1 MAX 300, readonly = 2, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT reader_role TO airflow WITH REPLACE OPTION;
ALTER USER airflow DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM airflow;

CREATE USER IF NOT EXISTS superset IDENTIFIED BY '{CLICKHOUSE_SUPERSET_PASSWORD}';
ALTER USER superset SETTINGS max_memory_usage = 4000000000 MAX 4000000000, log_queries = 1, max_execution_time = 300 MIN 1 MAX 300, readonly = 2, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT reader_role TO superset WITH REPLACE OPTION;
ALTER USER superset DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM superset;

CREATE USER IF NOT EXISTS superset_operations IDENTIFIED BY '{CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD}';
ALTER USER superset_operations SETTINGS max_memory_usage = 4000000000 MAX 4000000000, log_queries = 1, max_execution_time = 300 MIN 1 MAX 300, readonly = 2, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT operations_role TO superset_operations WITH REPLACE OPTION;
ALTER USER superset_operations DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM superset_operations;

CREATE USER IF NOT EXISTS superset_california IDENTIFIED BY '{CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD}';
ALTER USER superset_california SETTINGS max_memory_usage = 4000000000 MAX 4000000000, log_queries = 1, max_execution_time = 300 MIN 1 MAX 300, readonly = 2, format_schema CONST, format_schema_source CONST, format_template_row CONST, format_template_resultset CONST, format_avro_schema_registry_url CONST, output_format_schema CONST, input_format_record_errors_file_path CONST;
GRANT reader_california_role TO superset_california WITH REPLACE OPTION;
ALTER USER superset_california DEFAULT ROLE ALL;
REVOKE ALL ON *.* FROM superset_california;
