with source as (

    select * from {{ source('raw', 'orders') }}

),

renamed as (

    select
        order_id,
        customer_id,

        order_date,
        {{ business_day('order_date') }} as order_day,
        toYear(order_day) as order_year,
        toQuarter(order_day) as order_quarter,
        toMonth(order_day) as order_month,

        status,
        {{ is_net_status('status') }} as is_net_sale,
        total_amount,

        updated_at,
        _elt_loaded_at as loaded_at
    from source

)

select * from renamed
