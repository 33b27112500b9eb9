-- Summed once, so that each mart is compared with fact_sales without reading it again.
with sales as (

    select * from {{ ref('fact_sales') }}

)

select
    count() as order_items,
    sum(gross_revenue) as gross_revenue,
    sum(net_revenue) as net_revenue,
    sum(gross_product_margin) as gross_product_margin,
    sum(net_product_margin) as net_product_margin
from sales
