-- Summed once for dim_customers, and through it for every mart of customers.
{{ config(order_by='customer_id') }}

with sales as (

    select * from {{ ref('fact_sales') }}

)

select
    customer_id,

    min(order_day) as first_order_day,
    max(order_day) as last_order_day,
    minOrNullIf(order_day, is_net_sale) as first_net_order_day,
    maxOrNullIf(order_day, is_net_sale) as last_net_order_day,
    groupUniqArrayIf(toStartOfMonth(order_day), is_net_sale) as net_order_months,

    uniqExact(order_id) as gross_orders,
    uniqExactIf(order_id, is_net_sale) as net_orders,
    sum(quantity) as gross_units,
    sumIf(quantity, is_net_sale) as net_units,

    sum(gross_revenue) as gross_revenue,
    sum(net_revenue) as net_revenue,
    sum(gross_product_margin) as gross_product_margin,
    sum(net_product_margin) as net_product_margin
from sales
group by customer_id
