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

),

-- An array, so that each side is read once and not once for each measure.
compared as (

    select arrayJoin([
        {% for measure in measures %}
        (
            '{{ measure }}',
            toString(ifNull(here.{{ measure }}, 0)),
            toString(ifNull(there.{{ measure }}, 0))
        ){{ ',' if not loop.last }}
        {% endfor %}
    ]) as sums
    from here
    cross join there

)

select
    sums.1 as measure,
    sums.2 as here_sum,
    sums.3 as there_sum
from compared
where sums.2 != sums.3

{% endtest %}
