{#-
    Runs before the first node. What carries its past (snapshots, incremental models)
    starts as a clone of the published table, which shares its parts: no copy, and no
    leftover of a build that failed.
-#}
{% macro start_from_published() -%}
    {%- if execute and target.name == 'docs' and flags.WHICH in ('build', 'run', 'seed', 'snapshot') -%}
        {{ exceptions.raise_compiler_error(
            'Target docs only describes: use dev to build, or ask the webhook to build prod.'
        ) }}
    {%- endif -%}
    {%- if execute and is_published_by_worker() and flags.WHICH == 'generate' -%}
        {{ exceptions.raise_compiler_error(
            'Target prod names what is built and not published yet: use target docs to document what is.'
        ) }}
    {%- endif -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'snapshot') -%}
        {%- for id in selected_resources if id in graph.nodes -%}
            {%- set node = graph.nodes[id] -%}
            {%- if node.resource_type == 'snapshot' -%}
                {%- do drop_leftovers_of_snapshot(node) -%}
            {%- endif -%}
            {%- set is_incremental = 'incremental' in (node.config.materialized or '') -%}
            {%- if is_published_by_worker()
                and (node.resource_type == 'snapshot' or (is_incremental and not flags.FULL_REFRESH)) -%}
                {%- do clone_published(node) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{% macro clone_published(node) -%}
    {%- set published = adapter.get_relation(none, node.schema, published_name(node.alias)) -%}
    {%- if published is not none -%}
        {%- set next = published.incorporate(path={'identifier': node.alias}) -%}
        {%- do run_query('drop table if exists ' ~ next ~ on_cluster_clause(next)) -%}
        {%- do run_query('create table ' ~ next ~ on_cluster_clause(next) ~ ' clone as ' ~ published) -%}
        {%- do adapter.cache_added(next) -%}
    {%- endif -%}
{%- endmacro %}


{#-
    dbt-clickhouse merges a snapshot in a table that it creates only if it is not there: the
    rows that a killed dbt left in it would be in the history twice.
-#}
{% macro drop_leftovers_of_snapshot(node) -%}
    {%- set half = adapter.get_relation(none, node.schema, node.alias ~ '__snapshot_upsert') -%}
    {%- if half is not none -%}
        {%- do adapter.drop_relation(half) -%}
    {%- endif -%}
{%- endmacro %}
