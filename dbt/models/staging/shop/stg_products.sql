with source as (

    select * from {{ source('raw', 'products') }}

),

renamed as (

    select
        product_id,
        product_name,
        category,

        price,
        cost,
        price - cost as unit_margin,
        -- Of the price, so none without a price: NULL, never a division by zero.
        -- Divided as decimals to six places, then rounded to four: no float.
        if(
            price = 0,
            null,
            cast(
                round(
                    divideDecimal(price - cost, if(price = 0, 1, price), 6), 4
                ) as Decimal(18, 4)
            )
        ) as profit_margin,

        created_at,
        updated_at,
        _elt_loaded_at as loaded_at
    from source

)

select * from renamed
