-- Looked up by key.
{{ config(order_by='customer_id') }}

with customers as (

    select * from {{ ref('stg_customers') }}

),

sales as (

    select * from {{ ref('int_customer_sales') }}

)

select
    customers.customer_id as customer_id,
    customers.customer_name as customer_name,
    toLowCardinality(customers.state) as customer_state,
    toLowCardinality(customers.city) as customer_city,
    customers.created_at as created_at,

    sales.first_order_day as first_order_day,
    sales.last_order_day as last_order_day,
    sales.first_net_order_day as first_net_order_day,
    sales.last_net_order_day as last_net_order_day,

    coalesce(sales.gross_orders, 0) as gross_orders,
    coalesce(sales.net_orders, 0) as net_orders,
    coalesce(sales.gross_units, 0) as gross_units,
    coalesce(sales.net_units, 0) as net_units,

    coalesce(sales.gross_revenue, 0) as gross_revenue,
    coalesce(sales.net_revenue, 0) as net_revenue,
    coalesce(sales.gross_product_margin, 0) as gross_product_margin,
    coalesce(sales.net_product_margin, 0) as net_product_margin
from customers
left join sales on customers.customer_id = sales.customer_id
