{{ config(materialized='incremental', unique_key='a', order_by='a') }} select * from {{ ref('tiny_view') }}
