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
        -- Of the price, so none without a price.
        {{ exact_ratio('price - cost', 'price') }} as profit_margin,

        created_at,
        updated_at,
        _elt_loaded_at as loaded_at
    from source

)

select * from renamed
