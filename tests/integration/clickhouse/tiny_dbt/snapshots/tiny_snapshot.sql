{% snapshot tiny_snapshot %}{{ config(unique_key='id', strategy='check', check_cols=['name']) }} select * from {{ ref('tiny_seed') }}{% endsnapshot %}
