{{ config(materialized='table', order_by='a') }} select a from {{ ref('tiny_view') }}
