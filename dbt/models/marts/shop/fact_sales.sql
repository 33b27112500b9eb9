-- Rebuilt whole, because attributes of customers and products change. Ordered by day:
-- nearly every question names a period. Not partitioned: no period is ever dropped or
-- replaced. ClickHouse's own codec (LZ4): each build writes all of it once, and most
-- columns are repeated words, which LowCardinality makes small already.
{{ config(order_by=['order_day', 'order_item_id']) }}

with items as (

    select * from {{ ref('stg_order_items') }}

),

orders as (

    select * from {{ ref('stg_orders') }}

),

customers as (

    select * from {{ ref('stg_customers') }}

),

products as (

    select * from {{ ref('stg_products') }}

),

-- Inner joins: every line has its order, customer and product, which the tests of
-- relations make sure of before this is built, and a test counts the lines after.
joined as (

    select
        items.order_item_id as order_item_id,
        items.order_id as order_id,
        orders.customer_id as customer_id,
        items.product_id as product_id,

        orders.order_date as order_date,
        orders.order_day as order_day,
        orders.order_year as order_year,
        orders.order_quarter as order_quarter,
        orders.order_month as order_month,
        toLowCardinality(orders.status) as order_status,
        orders.is_net_sale as is_net_sale,

        customers.customer_name as customer_name,
        toLowCardinality(customers.state) as customer_state,
        toLowCardinality(customers.city) as customer_city,

        products.product_name as product_name,
        toLowCardinality(products.category) as product_category,

        items.quantity as quantity,
        items.unit_price as unit_price,
        products.cost as unit_cost,
        items.subtotal as gross_revenue,
        items.subtotal - items.quantity * products.cost as gross_product_margin
    from items
    inner join orders on items.order_id = orders.order_id
    inner join customers on orders.customer_id = customers.customer_id
    inner join products on items.product_id = products.product_id

)

select
    order_item_id,
    order_id,
    customer_id,
    product_id,
    order_date,
    order_day,
    order_year,
    order_quarter,
    order_month,
    order_status,
    is_net_sale,
    customer_name,
    customer_state,
    customer_city,
    product_name,
    product_category,
    quantity,
    unit_price,
    unit_cost,
    cast(gross_revenue as Decimal(18, 2)) as gross_revenue,
    cast(gross_product_margin as Decimal(18, 2)) as gross_product_margin,
    cast(if(is_net_sale, gross_revenue, 0) as Decimal(18, 2)) as net_revenue,
    cast(
        if(is_net_sale, gross_product_margin, 0) as Decimal(18, 2)
    ) as net_product_margin
from joined
