{{ config(materialized='incremental', order_by='a', incremental_strategy='append') }} select * from {{ ref('tiny_view') }}
