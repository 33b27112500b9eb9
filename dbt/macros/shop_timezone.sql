{#- Name of the shop's time zone, checked before it becomes part of a query. -#}
{% macro shop_timezone() -%}
    {%- set zone = env_var('SHOP_TIMEZONE', 'UTC') -%}
    {%- if not modules.re.match('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$', zone) -%}
        {{ exceptions.raise_compiler_error(
            "SHOP_TIMEZONE is '" ~ zone ~ "', which is no time zone name: "
            ~ "give one such as UTC or Europe/Berlin."
        ) }}
    {%- endif -%}
    {{- return(zone) -}}
{%- endmacro %}


{#- The shop's calendar day (Date) on which an instant falls. -#}
{% macro business_day(instant) -%}
    toDate({{ instant }}, '{{ shop_timezone() }}')
{%- endmacro %}
