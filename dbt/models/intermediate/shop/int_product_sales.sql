-- Summed once for dim_products and agg_product_performance.
{{ config(order_by='product_id') }}

with sales as (

    select * from {{ ref('fact_sales') }}

),

-- By status first: an order has one, so that its id is kept in one set and not in four.
by_status as (

    select
        product_id,
        order_status,
        is_net_sale,
        min(order_day) as first_day,
        max(order_day) as last_day,
        uniqExact(order_id) as orders,
        uniqExactStateIf(customer_id, is_net_sale) as buyers,
        sum(quantity) as units,
        sum(gross_revenue) as revenue,
        sum(gross_product_margin) as product_margin
    from sales
    group by product_id, order_status, is_net_sale

)

select
    product_id,

    min(first_day) as first_order_day,
    max(last_day) as last_order_day,

    sum(orders) as gross_orders,
    sumIf(orders, is_net_sale) as net_orders,
    sumIf(orders, order_status = 'cancelled') as cancelled_orders,
    sumIf(orders, order_status = 'returned') as returned_orders,
    uniqExactMerge(buyers) as net_customers,
    sum(units) as gross_units,
    sumIf(units, is_net_sale) as net_units,

    sum(revenue) as gross_revenue,
    sumIf(revenue, is_net_sale) as net_revenue,
    sum(product_margin) as gross_product_margin,
    sumIf(product_margin, is_net_sale) as net_product_margin
from by_status
group by product_id
