{{ config(materialized='incremental', unique_key='a', order_by='a', incremental_strategy='delete+insert') }} select * from {{ ref('tiny_view') }}
