{{ config(materialized='materialized_view', order_by='a') }} select * from {{ source('raw', 'tiny') }}
