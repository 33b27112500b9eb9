-- Looked up by key and instant.
{{ config(order_by=['product_id', 'valid_from']) }}

with states as (

    select * from {{ ref('products_history') }}

)

select
    product_id,
    -- The first state that was seen is taken to have held before as well: there is no
    -- better answer for orders that are older than the warehouse.
    if(
        row_number() over (partition by product_id order by dbt_valid_from) = 1,
        toDateTime64('1970-01-01 00:00:00', 6, 'UTC'),
        dbt_valid_from
    ) as valid_from,
    dbt_valid_to as valid_to,
    dbt_valid_to is null as is_current,
    product_name,
    toLowCardinality(category) as product_category,
    price,
    cost
from states
