-- Looked up by key.
{{ config(order_by='product_id') }}

with products as (

    select * from {{ ref('stg_products') }}

),

sales as (

    select * from {{ ref('int_product_sales') }}

)

select
    products.product_id as product_id,
    products.product_name as product_name,
    toLowCardinality(products.category) as product_category,
    products.price as price,
    products.cost as cost,
    products.unit_margin as unit_margin,
    products.profit_margin as profit_margin,
    products.created_at as created_at,

    sales.first_order_day as first_order_day,
    sales.last_order_day as last_order_day,

    coalesce(sales.gross_orders, 0) as gross_orders,
    coalesce(sales.net_orders, 0) as net_orders,
    coalesce(sales.gross_units, 0) as gross_units,
    coalesce(sales.net_units, 0) as net_units,

    coalesce(sales.gross_revenue, 0) as gross_revenue,
    coalesce(sales.net_revenue, 0) as net_revenue
from products
left join sales on products.product_id = sales.product_id
