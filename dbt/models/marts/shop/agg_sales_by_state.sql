-- A row for each state: read whole, so the key is all the order it needs.
{{ config(order_by='customer_state') }}

with sales as (

    select * from {{ ref('fact_sales') }}

),

states as (

    select
        sales.customer_state as customer_state,
        uniqExact(sales.customer_id) as gross_customers,
        uniqExactIf(sales.customer_id, sales.is_net_sale) as net_customers,
        uniqExact(sales.order_id) as gross_orders,
        uniqExactIf(sales.order_id, sales.is_net_sale) as net_orders,
        sum(sales.quantity) as gross_units,
        sumIf(sales.quantity, sales.is_net_sale) as net_units,
        sum(sales.gross_revenue) as gross_revenue,
        sum(sales.net_revenue) as net_revenue,
        sum(sales.gross_product_margin) as gross_product_margin,
        sum(sales.net_product_margin) as net_product_margin
    from sales
    group by sales.customer_state

)

select
    *,
    {{ exact_ratio('net_revenue', 'net_orders', 2) }} as net_revenue_per_order
from states
