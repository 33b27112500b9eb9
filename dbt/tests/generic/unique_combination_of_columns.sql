{#- Combinations of columns that occur more than once. Named as in dbt_utils. -#}
{% test unique_combination_of_columns(model, combination_of_columns) %}

select
    {{ combination_of_columns | join(', ') }},
    count() as times
from {{ model }}
group by {{ combination_of_columns | join(', ') }}
having times > 1

{% endtest %}
