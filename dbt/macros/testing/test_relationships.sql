{#- As dbt's own, but with the whole row whose partner is missing, so that it can be found. -#}
{% macro clickhouse__test_relationships(model, column_name, to, field) %}

select *
from {{ model }}
where
    {{ column_name }} is not null
    and {{ column_name }} not in (
        select {{ field }} from {{ to }} where {{ field }} is not null
    )

{% endmacro %}
