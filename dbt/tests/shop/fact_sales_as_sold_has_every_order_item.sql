-- The two lookups of its history lost nothing and doubled nothing, to the cent.
with as_sold as (

    select
        count() as items,
        sum(gross_revenue) as revenue
    from {{ ref('fact_sales_as_sold') }}

),

fact as (

    select
        count() as items,
        sum(gross_revenue) as revenue
    from {{ ref('fact_sales') }}

)

select
    as_sold.items as as_sold_items,
    fact.items as fact_items,
    as_sold.revenue as as_sold_revenue,
    fact.revenue as fact_revenue
from as_sold
cross join fact
where as_sold.items != fact.items or as_sold.revenue != fact.revenue
