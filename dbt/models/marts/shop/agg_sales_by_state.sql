-- A row for each state: read whole, so the key is all the order it needs.
{{ config(order_by='customer_state') }}

-- A customer lives in one state, and an order is of one customer: customers and orders
-- are counted already.
with customers as (

    select * from {{ ref('dim_customers') }}

),

states as (

    select
        customers.customer_state as customer_state,
        count() as gross_customers,
        countIf(customers.net_orders > 0) as net_customers,
        sum(customers.gross_orders) as gross_orders,
        sum(customers.net_orders) as net_orders,
        sum(customers.gross_units) as gross_units,
        sum(customers.net_units) as net_units,
        sum(customers.gross_revenue) as gross_revenue,
        sum(customers.net_revenue) as net_revenue,
        sum(customers.gross_product_margin) as gross_product_margin,
        sum(customers.net_product_margin) as net_product_margin
    from customers
    where customers.gross_orders > 0
    group by customers.customer_state

)

select
    *,
    {{ exact_ratio('net_revenue', 'net_orders', 2) }} as net_revenue_per_order
from states
