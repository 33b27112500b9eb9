{{ config(materialized='table', order_by='a') }} select * from {{ ref('tiny_view') }}
