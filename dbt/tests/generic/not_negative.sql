{#- Rows with a value below zero. NULL is the business of not_null. -#}
{% test not_negative(model, column_name) %}

select *
from {{ model }}
where {{ column_name }} < 0

{% endtest %}
