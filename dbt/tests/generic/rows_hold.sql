{#-
    Rows that break a rule, with the names of those that they break: one scan for all rules of
    a model. A rule is a condition that is true of every row; false and unknown (NULL) break it.
-#}
{% test rows_hold(model, rules) %}

select
    arrayFilter(
        (rule, holds) -> not holds,
        [{% for rule in rules %}'{{ rule }}'{{ ', ' if not loop.last }}{% endfor %}],
        [{% for condition in rules.values() %}ifNull({{ condition }}, 0){{ ', ' if not loop.last }}{% endfor %}]
    ) as broken_rules,
    *
from {{ model }}
where not (
    {% for condition in rules.values() %}
    ifNull({{ condition }}, 0)
    {{ 'and' if not loop.last }}
    {% endfor %}
)

{% endtest %}
