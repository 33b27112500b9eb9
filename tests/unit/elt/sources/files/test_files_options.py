"""Options of `kind: files`: what can be said, and a sentence for each mistake."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elt.sources.files.options import FilesSource, format_of
from pydantic import ValidationError


def source(*tables: dict[str, Any], **options: Any) -> FilesSource:
    listed = [{"name": "targets", "path": "targets-*.csv"} | table for table in tables or ({},)]
    return FilesSource.model_validate(
        {"name": "plan", "kind": "files", "url": "file:///srv/plan", "tables": listed} | options
    )


def test_the_example_of_the_page() -> None:
    plan = source()
    assert plan.folder == Path("/srv/plan") and plan.prefix == "plan__"
    (table,) = plan.entries
    assert (table.name, table.path, table.mode, table.rejects) == ("targets", "targets-*.csv", "full", "fail")


def test_blanks_in_the_address_may_be_written_as_in_any_address() -> None:
    assert source(url="file:///srv/my%20plan").folder == Path("/srv/my plan")


def test_the_table_of_broken_lines_reads_the_same_files_and_has_columns_of_its_own() -> None:
    table, rejects = source({"rejects": "table", "skip": 2, "order_by": ["month"], "key": ["month"]}).entries
    assert (rejects.name, rejects.path, rejects.skip, rejects.order_by) == (
        "targets__rejects",
        table.path,
        2,
        ("file", "line"),
    )
    assert rejects.holds_rejects and not table.holds_rejects
    named = source({"rejects": "table", "target": "goals"}).entries[1]
    assert named.target_name == "goals__rejects"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "2026"}, "'2026' is no table name"),
        ({"name": "a b"}, "letters, digits and underscores"),
        ({"name": "targets__rejects"}, "names tables of broken lines"),
        ({"path": "/etc/*.csv"}, "leaves the folder"),
        ({"path": "a/../../*.csv"}, "leaves the folder"),
        ({"path": ""}, "leaves the folder"),
        ({"path": "**/.exports/*.csv"}, "files and folders such as .exports are left out"),
        ({"encoding": "latin-99"}, "'latin-99' is no encoding"),
        ({"encoding": "hex"}, "'hex' is no encoding"),
        ({"quote": ";", "delimiter": ";"}, "choose two characters"),
        ({"delimiter": "\n"}, "cannot be the end of a line"),
        ({"types": {"a": "Float32"}}, "'Float32' is no type"),
        ({"types": {"a": "Decimal(77, 2)"}}, "p is from 1 to 76"),
        ({"types": {"a": "Decimal(2, 3)"}}, "s from 0 to p"),
        ({"types": {"a": "String"}, "exclude": ["a"]}, "a is excluded"),
        ({"key": ["a"], "exclude": ["a"]}, "a is excluded"),
        ({"exclude": ["a", "a"]}, "a stands twice"),
        ({"mode": "incremental"}, "Input should be 'full'"),
        ({"cursor": "a"}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_in_a_table_is_a_sentence(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(table)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket/plan", "s3:// comes with the lake"),
        ("gs://bucket/plan", "gs:// comes with the lake"),
        ("/srv/plan", "write its whole path, as in file:///srv/plan"),
        ("file://srv/plan", "no folder"),
        ("file:plan", "no folder"),
        ("file:///srv/../etc", "no folder"),
        ("http://host/plan", "no folder"),
    ],
)
def test_only_a_whole_path_is_an_address(url: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(url=url)
    assert says in str(caught.value)


def test_tables_have_names_of_their_own_and_there_is_one() -> None:
    with pytest.raises(ValidationError, match="stand twice"):
        source({}, {})
    with pytest.raises(ValidationError, match="at least 1 item"):
        FilesSource.model_validate({"name": "plan", "kind": "files", "url": "file:///srv/plan", "tables": []})


def test_a_tab_may_be_written_as_a_word() -> None:
    assert [source({"delimiter": one}).tables[0].delimiter for one in ("tab", "\\t", "\t")] == ["\t"] * 3


def test_options_are_read_without_the_libraries_of_the_formats() -> None:
    code = (
        "import sys, elt.sources.files.options; sys.exit('pyarrow' in sys.modules or 'python_calamine' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode
        == 0
    )


def test_types_are_written_as_clickhouse_prints_them() -> None:
    (table,) = source({"types": {"a": "Decimal(12,2)", "b": "DateTime64", "c": "DateTime64(6,'UTC')"}}).tables
    assert table.types == {"a": "Decimal(12, 2)", "b": "DateTime64(6, 'UTC')", "c": "DateTime64(6, 'UTC')"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.csv", "csv"),
        ("a.TSV.gz", "csv"),
        ("a.2026.jsonl.gz", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("b/a.parquet", "parquet"),
        ("a.XLSX", "excel"),
        ("a.ods", "excel"),
        ("a.txt", None),
        ("csv", None),
        ("a.gz", None),
    ],
)
def test_the_ending_tells_the_format(name: str, found: str | None) -> None:
    assert format_of(name) == found
