-- A row for each customer: read whole, or by segment.
{{ config(order_by=['segment', 'customer_id']) }}

with customers as (

    select * from {{ ref('dim_customers') }}

),

last_load as (

    select * from {{ ref('int_last_load') }}

),

buyers as (

    select
        customers.customer_id as customer_id,
        customers.net_orders as net_orders,
        customers.net_revenue as net_revenue,
        greatest(
            toInt32((select any(last_load.as_of_day) from last_load))
            - toInt32(assumeNotNull(customers.last_net_order_day)),
            0
        ) as recency_days
    from customers
    where customers.net_orders > 0

),

scored as (

    select
        customer_id,
        net_orders,
        recency_days,
        {{ fifth_by('recency_days desc') }} as recency_score,
        {{ fifth_by('net_orders') }} as frequency_score,
        {{ fifth_by('net_revenue') }} as money_score
    from buyers

),

segmented as (

    select
        customer_id,
        recency_days,
        recency_score,
        frequency_score,
        money_score,
        {{ customer_segment() }} as segment
    from scored

)

select
    customers.customer_id as customer_id,
    customers.customer_name as customer_name,
    customers.customer_state as customer_state,
    customers.customer_city as customer_city,
    toLowCardinality(coalesce(segmented.segment, 'no order')) as segment,
    customers.net_orders > 1 as is_repeat_customer,
    toStartOfMonth(customers.first_net_order_day) as cohort_month,
    customers.first_net_order_day as first_net_order_day,
    customers.last_net_order_day as last_net_order_day,
    segmented.recency_days as recency_days,
    customers.net_orders as net_orders,
    customers.net_revenue as net_revenue,
    customers.net_product_margin as net_product_margin,
    {{ exact_ratio('customers.net_revenue', 'customers.net_orders', 2) }} as net_revenue_per_order,
    segmented.recency_score as recency_score,
    segmented.frequency_score as frequency_score,
    segmented.money_score as money_score
from customers
left join segmented on customers.customer_id = segmented.customer_id
