"""pipeline.yml is validated whole; each mistake is named with its line, before anything runs."""

from datetime import timedelta
from pathlib import Path

import pytest
from elt.errors import PipelineFileError
from elt.pipeline.edit import add_entry
from elt.planning.plan import PlannedTable, read_plan, share_tasks
from elt.planning.selection import choose
from elt.publishing.keeping import on_error
from elt.sources.base import LeftOut
from elt.sources.postgres.names import TableName
from elt.sources.postgres.options import PostgresTable
from elt.sources.registry import MODELS, read_pipeline
from warehouse.errors import TerminalError


def written(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(PipelineFileError) as caught:
        read_pipeline(written(folder, text))
    return caught.value.mistakes


def test_the_projects_own_file_is_right(repo: Path) -> None:
    tables = read_pipeline(repo / "pipeline.yml").main.entries
    assert [entry.target_name for entry in tables] == ["customers", "products", "orders", "order_items"]


def test_everything_that_can_be_said_of_a_table(tmp_path: Path) -> None:
    text = """
sources:
  - name: s
    kind: postgres
    tables:
      - {name: sales.orders, target: o, mode: full, exclude: [a], types: {b: "Decimal(10,2)", c: String}}
"""
    tables = read_pipeline(written(tmp_path, text)).main.entries
    (entry,) = tables
    assert entry.name == TableName("sales", "orders") and entry.target_name == "o" and entry.exclude == ("a",)


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    text = """sources:
 - name: a
   kind: postgres
   urll: 1
   tables:
   - name: orders
   - name: public.b
     mode: hourly
     whose: x
   - {name: public.c, types: {a: Float, b: "Decimal(90, 2)"}, exclude: 3}
   - name: public.c
     name: public.d
   - 7
extra: 1
"""
    found = mistakes(tmp_path, text)
    assert [m.split(":")[0] for m in found] == [f"line {n}" for n in (4, 6, 8, 9, 10, 10, 10, 12, 13, 14)]
    assert "write schema.table" in found[1] and "must be 'full' or 'incremental'" in found[2]
    assert "not a known key" in found[3] and "given twice" in found[7]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("mode: incremental", "needs a cursor"),
        ("mode: incremental, cursor: a, lookback: soon", "'soon' is no lookback"),
        ("mode: incremental, cursor: a, lookback: -1", "-1 is no lookback"),
        ("mode: incremental, cursor: a, order_by: [b]", "ordered by its key"),
        ("mode: incremental, cursor: a, mask: [a]", "the cursor a can be neither"),
        ("mode: incremental, cursor: a, key: [b], exclude: [b]", "b is excluded"),
        ("cursor: a", "are for mode incremental"),
        ("mask: [a], exclude: [a]", "a stands more than once"),
        ("where: ''", "at least 1 character"),
    ],
)
def test_what_does_not_go_together_is_told_with_the_line(tmp_path: Path, entry: str, words: str) -> None:
    text = f"sources:\n- name: a\n  kind: postgres\n  tables:\n  - {{name: public.t, {entry}}}\n"
    (found,) = mistakes(tmp_path, text)
    assert found.startswith("line 5: ") and words in found


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30min", 1800), ("1h", 3600), ("2 d", 172800)])
def test_a_lookback_is_a_time(tmp_path: Path, text: str, seconds: int) -> None:
    line = f"{{name: public.t, mode: incremental, cursor: a, lookback: {text}}}"
    tables = read_pipeline(written(tmp_path, f"sources: [{{name: s, kind: postgres, tables: [{line}]}}]")).main.entries
    assert tables[0].lookback == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the file: must be keys"),
        ("sources: []", "line 1: sources: needs at least one"),
        ("sources: [1]", "line 1: sources.0: must be keys"),
        ("sources:\n- {name: a, kind: mysql}", "line 2: kind 'mysql' is not one of postgres"),
        ("sources:\n- name: a", "line 2: kind is missing"),
        ("sources:\n- {name: a, kind: postgres}", "line 2: sources.0.tables: is missing"),
        ("sources:\n- {name: a, kind: postgres, tables: some}", "line 2: sources.0.tables: must be 'all'"),
        ("a: [1\n", "line 2: expected"),
        ("a: \t- b: @", "line 1:"),
    ],
)
def test_files_that_are_wrong_as_a_whole(tmp_path: Path, text: str, words: str) -> None:
    assert words in mistakes(tmp_path, text)[0]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("tables: [{name: public.a}], exclude: [public.b]", "exclude stands beside tables: all"),
        ("tables: [{name: public.a}], on_gone: drop", "on_gone stands beside tables: all"),
        ("tables: [{name: public.a}], options: []", "options stands beside tables: all"),
        ("tables: all, exclude: [tmp_*]", "'tmp_*' is not a table name"),
        ("tables: all, exclude: [public.t*], options: [{name: public.t1}]", "take one of them out"),
        ("tables: all, on_gone: forget", "must be 'keep' or 'drop'"),
        ("tables: all, on_error: skip", "must be 'fail' or 'keep'"),
    ],
)
def test_what_stands_beside_the_tables_is_checked(tmp_path: Path, lines: str, words: str) -> None:
    (found,) = mistakes(tmp_path, f"sources:\n- {{name: a, kind: postgres, {lines}}}\n")
    assert found.startswith("line 2: ") and words in found


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("audit.*", "audit.log", True),
        ("audit.*", "audits.log", False),
        ("public.tmp_*", "public.tmp_", True),
        ("public.tmp_*", "public.tmp", False),
        ("*.tmp_*", "sales.tmp_x", True),
        ("public.a?b", "public.axb", False),
        ('public."a.*"', 'public."a.b"', True),
        ("public.[ab]", "public.a", False),
        ("public.*", 'public."two\nlines"', True),
    ],
)
def test_a_pattern_is_a_name_in_which_a_star_stands_for_anything(pattern: str, name: str, fits: bool) -> None:
    assert TableName.parse(pattern).matches(TableName.parse(name)) is fits


def test_on_error_of_a_table_goes_before_that_of_the_source(tmp_path: Path) -> None:
    text = "sources:\n- {name: s, kind: postgres, on_error: keep, tables: [{name: public.a, on_error: fail}, {name: public.b}]}"
    file = read_pipeline(written(tmp_path, text))
    assert [entry.on_error for entry in file.main.entries] == ["fail", "keep"]
    assert [on_error(file.main, target) for target in ("a", "b", "gone")] == ["fail", "keep", "keep"]


def test_two_tables_of_one_name_in_raw_are_refused(tmp_path: Path) -> None:
    text = """sources:
- name: a
  kind: postgres
  tables:
  - name: sales.orders
  - name: public.sales__orders
  - {name: public.x, target: y}
  - name: public.y
"""
    found = mistakes(tmp_path, text)
    assert found == (
        "line 6: sales.orders and public.sales__orders would both be raw.sales__orders; give one a target:",
        "line 8: public.x and public.y would both be raw.y; give one a target:",
    )


@pytest.mark.parametrize("name", ["pipeline", "raw", "Warehouse"])
def test_name_of_a_further_source_that_the_stack_uses_itself_is_refused(tmp_path: Path, name: str) -> None:
    text = f"sources: [{{name: {name}, kind: postgres, url: {{env: ERP_URL}}, tables: [{{name: public.t}}]}}]"
    assert mistakes(tmp_path, text) == (f"line 1: {name} is a name that the stack uses itself; choose another one",)


def test_a_file_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="ELT_PIPELINE"):
        read_pipeline(tmp_path / "none.yml")


def test_without_a_plan_the_list_of_the_file_is_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "sources: [{name: s, kind: postgres, tables: [{name: s.a}, {name: public.b}]}]")
    expected = (PlannedTable("s.a", "s__a", "full"), PlannedTable("public.b", "b", "full"))
    (planned,) = read_plan(tmp_path / "plan.json", path)
    assert planned.tables == expected and planned.main and planned.name == "s"
    monkeypatch.setenv("ELT_PIPELINE", str(path))
    assert read_plan(str(tmp_path / "plan.json")) == (planned,)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "tables": []}', '{"version": 1, "tables": [{}]}'])
def test_a_plan_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(TerminalError, match="python -m elt plan"):
        read_plan(path)


def test_tables_are_chosen_by_either_name() -> None:
    entries = [PostgresTable(name=TableName("sales", "a")), PostgresTable(name=TableName("public", "b"))]
    assert choose(entries, ["sales.a"]) == choose(entries, ["sales__a"]) == (entries[0],)
    assert choose(entries, None) == choose(entries, []) == tuple(entries)
    with pytest.raises(TerminalError, match="no table c; it has sales__a, b"):
        choose(entries, ["b", "c"])
    with pytest.raises(TerminalError, match="no table to copy"):
        choose([], None)


def test_a_table_that_is_left_out_is_refused_with_its_reason() -> None:
    left_out = [LeftOut("sales.a", "sales__a", "it has no columns")]
    entries = [PostgresTable(name=TableName("public", "b"))]
    for name in ("sales.a", "sales__a"):
        with pytest.raises(TerminalError, match=r"sales\.a is left out of tables: all: it has no columns"):
            choose(entries, ["b", name], left_out)
    with pytest.raises(TerminalError, match=r"no table to copy.*sales\.a is left out"):
        choose([], None, left_out)


def test_a_table_that_is_excluded_is_not_added(tmp_path: Path) -> None:
    path = written(tmp_path, "sources: [{name: s, kind: postgres, tables: all, exclude: [public.tmp_*]}]")
    with pytest.raises(TerminalError, match=r"exclude: public\.tmp_\*"):
        add_entry(path, MODELS, "s", "public.tmp_1", {})
    assert add_entry(path, MODELS, "s", "public.b", {}).target_name == "b"


def test_few_tables_have_tasks_of_their_own_and_many_small_ones_share() -> None:
    def plan(count: int) -> tuple[PlannedTable, ...]:
        return tuple(PlannedTable(f"public.t{n}", f"t{n}", "full") for n in range(count))

    sizes = {f"t{n}": 8192 for n in range(400)}
    assert share_tasks(plan(4), sizes) == plan(4)
    shared = share_tasks(plan(400), {**sizes, "t7": 1 << 30})
    assert len({table.task for table in shared if table.task}) == 8
    assert [table.target for table in shared if not table.task] == ["t7"]
    # Neither is a table of unknown size small: it may be the largest.
    unknown = {name: size for name, size in sizes.items() if name != "t9"}
    assert [table.target for table in share_tasks(plan(400), unknown) if not table.task] == ["t9"]
    middling = share_tasks(plan(40), {f"t{n}": 60 << 20 for n in range(40)})
    assert max(sum(1 for t in middling if t.task == task) for task in {t.task for t in middling}) == 8
