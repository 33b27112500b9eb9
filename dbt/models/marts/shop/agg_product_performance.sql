-- A row for each product: read whole, or by category.
{{ config(order_by=['product_category', 'product_id']) }}

with products as (

    select * from {{ ref('stg_products') }}

),

sales as (

    select * from {{ ref('int_product_sales') }}

),

sold as (

    select
        products.product_id as product_id,
        products.product_name as product_name,
        toLowCardinality(products.category) as product_category,
        coalesce(sales.gross_orders, 0) as gross_orders,
        coalesce(sales.net_orders, 0) as net_orders,
        coalesce(sales.cancelled_orders, 0) as cancelled_orders,
        coalesce(sales.returned_orders, 0) as returned_orders,
        coalesce(sales.net_customers, 0) as net_customers,
        coalesce(sales.gross_units, 0) as gross_units,
        coalesce(sales.net_units, 0) as net_units,
        coalesce(sales.gross_revenue, 0) as gross_revenue,
        coalesce(sales.net_revenue, 0) as net_revenue,
        coalesce(sales.gross_product_margin, 0) as gross_product_margin,
        coalesce(sales.net_product_margin, 0) as net_product_margin
    from products
    left join sales on products.product_id = sales.product_id

),

ranked as (

    select
        *,
        sum(net_revenue) over () as all_net_revenue,
        rank() over (order by net_revenue desc) as net_revenue_rank,
        rank() over (
            partition by product_category order by net_revenue desc
        ) as net_revenue_rank_in_category
    from sold

)

select
    product_id,
    product_name,
    product_category,
    gross_orders,
    net_orders,
    cancelled_orders,
    returned_orders,
    net_customers,
    gross_units,
    net_units,
    gross_revenue,
    net_revenue,
    gross_product_margin,
    net_product_margin,
    net_revenue_rank,
    net_revenue_rank_in_category,
    {{ exact_ratio('net_revenue', 'all_net_revenue', 6) }} as net_revenue_share,
    {{ exact_ratio('net_product_margin', 'net_revenue') }} as net_margin_rate,
    {{ exact_ratio('cancelled_orders', 'gross_orders') }} as cancel_rate,
    {{ exact_ratio('returned_orders', 'gross_orders') }} as return_rate
from ranked
