-- The four databases. raw: written by the loader alone. analytics and analytics_dev: written by dbt alone.
-- ops: what ran, when and with which result.
CREATE DATABASE IF NOT EXISTS raw;
CREATE DATABASE IF NOT EXISTS analytics;
CREATE DATABASE IF NOT EXISTS analytics_dev;
CREATE DATABASE IF NOT EXISTS ops;
