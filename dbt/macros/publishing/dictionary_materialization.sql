{#-
    Refused before its statement is made: dbt-clickhouse writes the password of the
    connection into it, and dbt the statement into `target/run`. It would also go on
    reading the tables of one build.
-#}
{% materialization dictionary, adapter='clickhouse' %}
    {{ exceptions.raise_compiler_error(
        model.name ~ ' is materialized as a dictionary, which would write the password of the warehouse to a file: '
        ~ 'materialize it as table, incremental or view.'
    ) }}
{% endmaterialization %}
