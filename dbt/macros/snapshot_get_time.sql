{#- As precise as the loader's instants; dbt-clickhouse's own now() has whole seconds. -#}
{% macro clickhouse__snapshot_get_time() -%}
    now64(6, 'UTC')
{%- endmacro %}
