{#- This mart has as many rows as the other one. One row with both counts where not. Named as in dbt_utils. -#}
{% test equal_rowcount(model, compare_model) %}

select
    (select count() from {{ model }}) as row_count,
    (select count() from {{ compare_model }}) as compared_row_count
where row_count != compared_row_count

{% endtest %}
