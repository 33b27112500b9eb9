with source as (

    select * from {{ source('raw', 'order_items') }}

),

renamed as (

    select
        order_item_id,
        order_id,
        product_id,
        quantity,
        unit_price,
        subtotal,
        updated_at,
        _elt_loaded_at as loaded_at
    from source

)

select * from renamed
