{#-
    This mart has the rows of the other one: as many, and with the same sums of `measures`, to
    the cent. For a mart that looks up one partner for each row at most, so that as many rows
    are the same rows. One row that shows both sides where not.
-#}
{% test same_rows_as(model, to, measures) %}

with here as (

    select
        count() as row_count
        {% for measure in measures %}, sum({{ measure }}) as {{ measure }}{% endfor %}
    from {{ model }}

),

there as (

    select
        count() as row_count
        {% for measure in measures %}, sum({{ measure }}) as {{ measure }}{% endfor %}
    from {{ to }}

)

select
    here.row_count as here_rows,
    there.row_count as there_rows
    {% for measure in measures %}
    , here.{{ measure }} as here_{{ measure }}
    , there.{{ measure }} as there_{{ measure }}
    {% endfor %}
from here
cross join there
where
    here.row_count != there.row_count
    {% for measure in measures %}
    or here.{{ measure }} != there.{{ measure }}
    {% endfor %}

{% endtest %}
