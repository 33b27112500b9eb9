{{ config(materialized='view', sql_security='definer', definer='dbt') }} select * from {{ source('raw', 'tiny') }}
