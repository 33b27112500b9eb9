-- Its inner joins lost nothing and doubled nothing, to the cent.
with fact as (

    select
        count() as items,
        sum(gross_revenue) as revenue
    from {{ ref('fact_sales') }}

),

staged as (

    select
        count() as items,
        sum(subtotal) as revenue
    from {{ ref('stg_order_items') }}

)

select
    fact.items as fact_items,
    staged.items as staged_items,
    fact.revenue as fact_revenue,
    staged.revenue as staged_revenue
from fact
cross join staged
where fact.items != staged.items or fact.revenue != staged.revenue
