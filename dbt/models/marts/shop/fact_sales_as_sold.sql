-- A view: asked now and then, and as quick as the two lookups.
{{ config(materialized='view') }}

with sales as (

    select * from {{ ref('fact_sales') }}

),

customers as (

    select * from {{ ref('dim_customers_history') }}

),

products as (

    select * from {{ ref('dim_products_history') }}

),

looked_up as (

    select
        sales.order_item_id as order_item_id,
        sales.order_id as order_id,
        sales.customer_id as customer_id,
        sales.product_id as product_id,
        sales.order_date as order_date,
        sales.order_day as order_day,
        sales.order_status as order_status,
        sales.is_net_sale as is_net_sale,
        customers.customer_state as customer_state,
        customers.customer_city as customer_city,
        products.product_name as product_name,
        products.product_category as product_category,
        sales.quantity as quantity,
        products.price as list_price,
        sales.unit_price as unit_price,
        products.cost as unit_cost,
        sales.gross_revenue as gross_revenue,
        sales.gross_revenue - sales.quantity * products.cost as gross_product_margin,
        sales.net_revenue as net_revenue
    from sales
    asof join customers
        on
            sales.customer_id = customers.customer_id
            and sales.order_date >= customers.valid_from
    asof join products
        on
            sales.product_id = products.product_id
            and sales.order_date >= products.valid_from

)

select
    order_item_id,
    order_id,
    customer_id,
    product_id,
    order_date,
    order_day,
    order_status,
    is_net_sale,
    customer_state,
    customer_city,
    product_name,
    product_category,
    quantity,
    list_price,
    unit_price,
    unit_cost,
    gross_revenue,
    cast(gross_product_margin as Decimal(18, 2)) as gross_product_margin,
    net_revenue,
    cast(
        if(is_net_sale, gross_product_margin, 0) as Decimal(18, 2)
    ) as net_product_margin
from looked_up
