-- Databases and roles for the metadata of Airflow and Superset. Each role owns its database and enters no other.
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv superset_password SUPERSET_DB_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE superset LOGIN PASSWORD :'superset_password';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE superset OWNER superset;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;
REVOKE ALL ON DATABASE superset FROM PUBLIC;
