{#-
    A fifth, 1 (lowest) to 5 (highest), by the place of a customer's value among all; equal
    values get the same fifth, so it does not depend on the order of rows.
-#}
{% macro fifth_by(value) -%}
    toUInt8(intDiv(5 * (rank() over (order by {{ value }}) - 1), count() over ()) + 1)
{%- endmacro %}


{#- What the scores of a customer with orders that stand mean. The first that fits. -#}
{% macro customer_segment() -%}
    multiIf(
        recency_score >= 4 and frequency_score >= 4 and money_score >= 4, 'champion',
        recency_score >= 3 and net_orders > 1 and frequency_score >= 3, 'loyal',
        recency_score >= 4 and net_orders = 1, 'new',
        recency_score >= 3, 'promising',
        frequency_score >= 3 or money_score >= 4, 'at risk',
        'lost'
    )
{%- endmacro %}
