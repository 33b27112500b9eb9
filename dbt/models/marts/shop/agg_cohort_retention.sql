-- A row for each cohort, state and month since: read by cohort.
{{ config(order_by=['cohort_month', 'customer_state', 'months_since']) }}

with customers as (

    select * from {{ ref('dim_customers') }}

),

sales as (

    select * from {{ ref('int_customer_sales') }}

),

last_load as (

    select * from {{ ref('int_last_load') }}

),

members as (

    select
        customers.customer_state as customer_state,
        toStartOfMonth(assumeNotNull(sales.first_net_order_day)) as cohort_month,
        sales.net_order_months as active_months
    from sales
    inner join customers on sales.customer_id = customers.customer_id
    where sales.net_orders > 0

),

-- Up to the last load, or to the last order where a shop writes orders for days to come.
span as (

    select
        greatest(
            assumeNotNull(max(sales.last_net_order_day)),
            (select any(last_load.as_of_day) from last_load)
        ) as until_day
    from sales

),

-- Months without an order are rows too: they make the share of those who came back.
months as (

    select
        customer_state,
        cohort_month,
        active_months,
        arrayJoin(
            range(
                toUInt32(
                    dateDiff('month', cohort_month, (select any(span.until_day) from span)) + 1
                )
            )
        ) as month_number
    from members

)

select
    cohort_month,
    customer_state,
    toUInt16(month_number) as months_since,
    count() as cohort_customers,
    countIf(has(active_months, addMonths(cohort_month, month_number))) as net_customers
from months
group by cohort_month, customer_state, month_number
