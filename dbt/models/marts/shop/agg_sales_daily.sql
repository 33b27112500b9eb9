-- A row for each day: read by period, so ordered by day.
{{ config(order_by='order_day') }}

with sales as (

    select * from {{ ref('fact_sales') }}

),

last_load as (

    select * from {{ ref('int_last_load') }}

),

customers as (

    select * from {{ ref('int_customer_sales') }}

),

days_with_sales as (

    select
        sales.order_day as order_day,
        uniqExact(sales.order_id) as gross_orders,
        uniqExactIf(sales.order_id, sales.is_net_sale) as net_orders,
        uniqExact(sales.customer_id) as gross_customers,
        uniqExactIf(sales.customer_id, sales.is_net_sale) as net_customers,
        sum(sales.quantity) as gross_units,
        sumIf(sales.quantity, sales.is_net_sale) as net_units,
        sum(sales.gross_revenue) as gross_revenue,
        sum(sales.net_revenue) as net_revenue,
        sum(sales.gross_product_margin) as gross_product_margin,
        sum(sales.net_product_margin) as net_product_margin
    from sales
    group by sales.order_day

),

first_orders as (

    select
        assumeNotNull(first_net_order_day) as order_day,
        count() as net_new_customers
    from customers
    where first_net_order_day is not null
    group by order_day

),

-- From the first order to the last load, or to the last order where a shop writes
-- orders for days to come.
span as (

    select
        min(order_day) as first_day,
        greatest(
            max(order_day), (select any(last_load.as_of_day) from last_load)
        ) as last_day
    from days_with_sales
    having count() > 0

),

days as (

    select
        arrayJoin(
            arrayMap(
                day -> toDate(day),
                range(
                    toUInt32(toUInt16(assumeNotNull(first_day))),
                    toUInt32(toUInt16(assumeNotNull(last_day))) + 1
                )
            )
        ) as order_day
    from span

),

filled as (

    select
        days.order_day as order_day,
        coalesce(days_with_sales.gross_orders, 0) as gross_orders,
        coalesce(days_with_sales.net_orders, 0) as net_orders,
        coalesce(days_with_sales.gross_customers, 0) as gross_customers,
        coalesce(days_with_sales.net_customers, 0) as net_customers,
        coalesce(first_orders.net_new_customers, 0) as net_new_customers,
        coalesce(days_with_sales.gross_units, 0) as gross_units,
        coalesce(days_with_sales.net_units, 0) as net_units,
        coalesce(days_with_sales.gross_revenue, 0) as gross_revenue,
        coalesce(days_with_sales.net_revenue, 0) as net_revenue,
        coalesce(days_with_sales.gross_product_margin, 0) as gross_product_margin,
        coalesce(days_with_sales.net_product_margin, 0) as net_product_margin
    from days
    left join days_with_sales on days.order_day = days_with_sales.order_day
    left join first_orders on days.order_day = first_orders.order_day

)

select
    order_day,
    toYear(order_day) as order_year,
    toQuarter(order_day) as order_quarter,
    toMonth(order_day) as order_month,
    toDayOfWeek(order_day) as order_weekday,
    gross_orders,
    net_orders,
    gross_customers,
    net_customers,
    net_new_customers,
    gross_units,
    net_units,
    gross_revenue,
    net_revenue,
    gross_product_margin,
    net_product_margin,
    {{ exact_ratio('net_revenue', 'net_orders', 2) }} as net_revenue_per_order,
    sum(net_revenue) over (
        order by order_day rows between 6 preceding and current row
    ) as net_revenue_7_days,
    sum(net_revenue) over (
        order by order_day rows between 27 preceding and current row
    ) as net_revenue_28_days
from filled
