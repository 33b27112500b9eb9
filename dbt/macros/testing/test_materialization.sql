{#-
    As dbt's own, but failing rows are stored only where there are any, so that a table
    `failed__...` means something: what it holds (up to 1000 rows) has to be mended.
-#}
{% materialization test, adapter='clickhouse' %}

    {%- set stored = api.Relation.create(
        identifier=model['alias'], schema=schema, database=database, type='table'
    ) -%}
    {%- set old = adapter.get_relation(none, schema, model['alias']) -%}
    {%- if should_store_failures() and old is not none -%}
        {%- do adapter.drop_relation(old) -%}
    {%- endif -%}

    {%- call statement('main', fetch_result=True) -%}
        {{ get_test_sql(sql, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), config.get('limit')) }}
    {%- endcall -%}

    {%- if should_store_failures() and load_result('main')['table'].rows[0][0] > 0 -%}
        {%- call statement('store') -%}
            create table {{ stored }} {{ on_cluster_clause(stored) }}
            engine = {{ env_var("CLICKHOUSE_TABLE_ENGINE", "MergeTree") }} order by tuple()
            comment 'Rows that failed the test {{ model['name'] }}, at most 1000'
            as select * from ({{ sql }}) as failing limit 1000
        {%- endcall -%}
    {%- endif -%}

    {{ return({'relations': []}) }}

{% endmaterialization %}
