"""Names are quoted so that nothing in them is read as anything else, and never meet by accident."""

import pytest
from elt.pipeline.names import loading_table, publisher_table, run_of_loading_table, target_problem
from elt.sources.postgres.names import TableName, quote_postgres
from hypothesis import given
from hypothesis import strategies as st
from warehouse.quoting import literal, quote

NAMES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=63)
RUN = 1795182525376609


@given(NAMES, NAMES)
def test_a_printed_name_is_read_back(schema: str, table: str) -> None:
    name = TableName(schema, table)
    assert TableName.parse(str(name)) == name


@given(NAMES)
def test_quoted_names_end_where_they_should(name: str) -> None:
    assert quote_postgres(name)[1:-1].replace('""', "").count('"') == 0
    body = quote(name)[1:-1].replace("\\\\", "").replace("\\`", "")
    assert "`" not in body and "\\" not in body
    body = literal(name)[1:-1].replace("\\\\", "").replace("\\'", "")
    assert "'" not in body and "\\" not in body


def test_targets_follow_the_schema() -> None:
    assert TableName.parse("public.orders").target == "orders"
    assert TableName.parse("sales.orders").target == "sales__orders"
    assert TableName.parse('"odd.schema"."a""b"') == TableName("odd.schema", 'a"b')


@pytest.mark.parametrize("text", ["orders", "", ".", "a.", ".b", "a.b.c", 'a."b', '""."b"'])
def test_what_is_no_table_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schema\.table"):
        TableName.parse(text)


@given(NAMES, st.integers(1, 99))
def test_a_loading_table_is_known_by_its_run_and_fits_a_file_name(target: str, attempt: int) -> None:
    name = loading_table(target, RUN, attempt)
    marked = publisher_table(name, "0a1b2c3d")
    assert run_of_loading_table(name) == RUN and run_of_loading_table(marked) == RUN
    escaped = sum(1 if b < 128 and (chr(b).isalnum() or b == 95) else 3 for b in marked.encode())
    assert escaped <= 170


def test_long_targets_with_a_common_start_do_not_share_a_loading_table() -> None:
    assert loading_table("名" * 50 + "a", RUN, 1) != loading_table("名" * 50 + "b", RUN, 1)


@pytest.mark.parametrize(
    "name", ["orders", "orders__loading_1_1", "orders__loading_x", "__loading_", "a__loading_17951825253766091_1"]
)
def test_other_tables_are_no_loading_tables(name: str) -> None:
    assert run_of_loading_table(name) is None


def test_targets_that_cannot_be_are_told() -> None:
    assert target_problem("orders") is None
    assert target_problem(loading_table("orders", RUN, 1)) is not None
    assert target_problem("名" * 40) is not None
