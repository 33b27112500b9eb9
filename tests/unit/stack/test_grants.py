"""Rights of users.xml that must fit each other: filters of rows and the grants beside them, on both kinds of server."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def root(repo: Path) -> ElementTree.Element:
    return ElementTree.parse(repo / "clickhouse/config/users.xml").getroot()


def filters(root: ElementTree.Element, user: str) -> dict[str, str]:
    return {table.tag: table.findtext("filter", "") for table in root.findall(f"users/{user}/databases/analytics/*")}


def test_each_filter_of_a_user_stands_at_the_embedded_engine_s_user_for_its_role(root: ElementTree.Element) -> None:
    rows = filters(root, "superset_california")
    assert rows
    assert filters(root, "default") == {
        table: f"has(currentRoles(), 'admin') OR NOT has(currentRoles(), 'reader_california') OR {rule}"
        for table, rule in rows.items()
    }


def test_a_restricted_user_may_read_only_filtered_marts_and_those_without_a_state_or_customer(
    root: ElementTree.Element, repo: Path
) -> None:
    granted = {
        found[1]
        for query in root.findall("roles/reader_california/grants/query")
        if (found := re.fullmatch(r"GRANT SHOW, SELECT ON analytics\.(\w+)", query.text or ""))
    }
    others = [query.text for query in root.findall("roles/reader_california/grants/query")][len(granted) :]
    assert others == ["GRANT CREATE TEMPORARY TABLE ON *.*"]
    whole = granted - set(filters(root, "superset_california"))
    assert whole == {"dim_products", "dim_products_history"}
    for table in granted:
        (file,) = (repo / "dbt/models/marts").rglob(f"{table}.yml")
        columns = {column["name"] for column in yaml.safe_load(file.read_text())["models"][0]["columns"]}
        assert ("customer_state" in columns) == (table not in whole), table


def test_no_user_of_superset_reads_two_of_marts_operations_and_raw(root: ElementTree.Element) -> None:
    for user, database in (
        ("superset", "analytics"),
        ("superset_operations", "ops"),
        ("superset_california", "analytics"),
    ):
        (grant,) = root.findall(f"users/{user}/grants/query")
        role = (grant.text or "").removeprefix("GRANT ")
        granted = " ".join(query.text or "" for query in root.findall(f"roles/{role}/grants/query"))
        assert set(re.findall(r"ON (\w+)\.", granted)) == {database}, user
