{#-
    The sums of `measures` over this mart are those over the other one, to the cent.
    One row for each measure that differs.
-#}
{% test adds_up_to(model, to, measures) %}

with here as (

    select {% for measure in measures %}sum({{ measure }}) as {{ measure }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ model }}

),

there as (

    select {% for measure in measures %}sum({{ measure }}) as {{ measure }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ to }}

)

{% for measure in measures %}
select
    '{{ measure }}' as measure,
    toString(here.{{ measure }}) as here_sum,
    toString(there.{{ measure }}) as there_sum
from here
cross join there
where ifNull(here.{{ measure }}, 0) != ifNull(there.{{ measure }}, 0)
{{ 'union all' if not loop.last }}
{% endfor %}

{% endtest %}
