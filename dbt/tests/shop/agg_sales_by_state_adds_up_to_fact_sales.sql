with states as (

    select
        sum(gross_revenue) as gross_revenue,
        sum(net_revenue) as net_revenue,
        sum(net_product_margin) as net_product_margin,
        sum(gross_orders) as gross_orders
    from {{ ref('agg_sales_by_state') }}

),

fact as (

    select
        sum(gross_revenue) as gross_revenue,
        sum(net_revenue) as net_revenue,
        sum(net_product_margin) as net_product_margin,
        uniqExact(order_id) as gross_orders
    from {{ ref('fact_sales') }}

)

select
    states.gross_revenue as states_gross_revenue,
    fact.gross_revenue as fact_gross_revenue,
    states.net_revenue as states_net_revenue,
    fact.net_revenue as fact_net_revenue
from states
cross join fact
where
    states.gross_revenue != fact.gross_revenue
    or states.net_revenue != fact.net_revenue
    or states.net_product_margin != fact.net_product_margin
    or states.gross_orders != fact.gross_orders
