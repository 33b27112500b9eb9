-- The shop's own arithmetic. Only a warning: one wrong total in the source should
-- not keep the warehouse from being refreshed.
{{ config(severity='warn') }}

with amounts as (

    select
        order_id,
        total_amount,
        0 as line_amount
    from {{ ref('stg_orders') }}

    union all

    select
        order_id,
        0 as total_amount,
        subtotal as line_amount
    from {{ ref('stg_order_items') }}

)

select
    order_id,
    sum(total_amount) as order_amount,
    sum(line_amount) as lines_amount
from amounts
group by order_id
having order_amount != lines_amount
