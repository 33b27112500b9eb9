{#- Rows for which a condition is false or unknown. -#}
{% test row_holds(model, expression) %}

select *
from {{ model }}
where not ifNull({{ expression }}, 0)

{% endtest %}
