{#-
    As dbt's own, but what this invocation does not build is read as it is published: a
    build of one mart starts from the published state, and `dbt test` tests that.
-#}
{% macro ref() -%}
    {%- set relation = builtins.ref(*varargs, **kwargs) -%}
    {%- if execute and is_published_by_worker() and not relation.is_cte -%}
        {%- set node = '^(model|snapshot|seed)[.]\\w+[.]' ~ varargs[-1] ~ '([.]v\\w+)?$' -%}
        {%- if not modules.re.search(node, selected_resources | join('\n'), modules.re.MULTILINE) -%}
            {%- do return(relation.incorporate(path={'identifier': published_name(relation.identifier)})) -%}
        {%- endif -%}
    {%- endif -%}
    {%- do return(relation) -%}
{%- endmacro %}
