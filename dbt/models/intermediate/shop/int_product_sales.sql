-- Summed once for dim_products and agg_product_performance.
{{ config(order_by='product_id') }}

with sales as (

    select * from {{ ref('fact_sales') }}

)

select
    product_id,

    min(order_day) as first_order_day,
    max(order_day) as last_order_day,

    uniqExact(order_id) as gross_orders,
    uniqExactIf(order_id, is_net_sale) as net_orders,
    uniqExactIf(order_id, order_status = 'cancelled') as cancelled_orders,
    uniqExactIf(order_id, order_status = 'returned') as returned_orders,
    uniqExactIf(customer_id, is_net_sale) as net_customers,
    sum(quantity) as gross_units,
    sumIf(quantity, is_net_sale) as net_units,

    sum(gross_revenue) as gross_revenue,
    sum(net_revenue) as net_revenue,
    sum(gross_product_margin) as gross_product_margin,
    sum(net_product_margin) as net_product_margin
from sales
group by product_id
