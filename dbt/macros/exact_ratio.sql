{#-
    numerator / denominator as a Decimal rounded to `digits` places, and NULL where
    the denominator is 0. Divided as decimals with two places to spare: no float, and
    no division by zero. Both may be counts or money to the cent.
-#}
{% macro exact_ratio(numerator, denominator, digits=4) -%}
    if(
        {{ denominator }} = 0,
        null,
        cast(
            round(
                divideDecimal(
                    toDecimal128({{ numerator }}, 2),
                    if({{ denominator }} = 0, toDecimal128(1, 2), toDecimal128({{ denominator }}, 2)),
                    {{ digits + 2 }}
                ),
                {{ digits }}
            ) as Decimal(18, {{ digits }})
        )
    )
{%- endmacro %}
