{#-
    Write, audit, publish. Target prod never writes what people read: it builds
    `fact_sales__next` beside `fact_sales` and tests it there, and the webhook's worker
    puts it in the place of the published one when the whole build has gone well.
-#}
{% macro next_mark() -%}
    {{- return('__next') -}}
{%- endmacro %}


{% macro is_published_by_worker() -%}
    {{- return(target.name == 'prod') -}}
{%- endmacro %}


{#- `fact_sales` for `fact_sales__next`. -#}
{% macro published_name(identifier) -%}
    {{- return(identifier.removesuffix(next_mark())) -}}
{%- endmacro %}


{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
    {%- set name = custom_alias_name | trim if custom_alias_name else node.name -%}
    {%- if node.version and not custom_alias_name -%}
        {%- set name = name ~ '_v' ~ (node.version | replace('.', '_')) -%}
    {%- endif -%}
    {%- if next_mark() in name -%}
        {{ exceptions.raise_compiler_error(
            name ~ ": names with '" ~ next_mark() ~ "' are those of tables that are not published yet; "
            ~ "choose another."
        ) }}
    {%- endif -%}
    {%- if node.resource_type == 'test' -%}
        {{- return('failed__' ~ name) -}}
    {%- endif -%}
    {{- return(name ~ (next_mark() if is_published_by_worker() else '')) -}}
{%- endmacro %}


{#- Failing rows lie beside the marts, where everybody who reads marts can see them. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if node.resource_type == 'test' -%}
        {{- return(target.schema) -}}
    {%- endif -%}
    {{- return(default__generate_schema_name(custom_schema_name, node)) -}}
{%- endmacro %}
