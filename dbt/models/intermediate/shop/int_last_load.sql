-- "Today" for every question of recency: the day of the data, not of the build, so that
-- the same data give the same marts.
with orders as (

    select * from {{ ref('stg_orders') }}

)

select {{ business_day('max(loaded_at)') }} as as_of_day
from orders
having count() > 0
