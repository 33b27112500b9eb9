{#-
    Whether an order of this status counts in net measures. The one place that
    decides it: cancelled and returned orders count in gross measures only.
-#}
{% macro is_net_status(status) -%}
    ({{ status }} not in ('cancelled', 'returned'))
{%- endmacro %}
