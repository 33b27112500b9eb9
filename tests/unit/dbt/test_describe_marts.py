"""The page of marts and Superset's datasets say what dbt says, and ./test.sh fix makes them say it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import describe_marts
import pytest
import yaml

DATASETS = "superset/assets/shop/datasets/Warehouse"

PRICE = """\
  - column_name: price
    description: List price of one piece, as of the last load.
    groupby: false
    type: Decimal(12, 2)
"""


@pytest.fixture
def copy(repo: Path, tmp_path: Path) -> Path:
    """The dbt project, the page and the datasets, for a test to change."""
    copied = tmp_path / "repo"
    shutil.copytree(repo / "dbt", copied / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copytree(repo / "superset/assets", copied / "superset/assets")
    (copied / "docs").mkdir()
    shutil.copy(repo / describe_marts.PAGE, copied / describe_marts.PAGE)
    return copied


def parse(project: Path, state: Path, venvs: Path) -> Path:
    """The manifest of a project."""
    places = ["--project-dir", project, "--profiles-dir", project]
    result = subprocess.run(
        [venvs / "dbt/bin/dbt", "--quiet", "parse", *places, "--target-path", state, "--log-path", state],
        env={"PATH": os.environ["PATH"], "HOME": str(state), "CLICKHOUSE_DBT_PASSWORD": "x"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout
    return state / "manifest.json"


@pytest.fixture(scope="module")
def manifest(repo: Path, venvs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return parse(repo / "dbt", tmp_path_factory.mktemp("parsed"), venvs)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def dataset(copy: Path, name: str) -> Any:
    return yaml.safe_load((copy / DATASETS / f"{name}.yaml").read_text())


def test_the_files_say_what_dbt_says(repo: Path, manifest: Path) -> None:
    assert describe_marts.run(repo, manifest, check=True) == []


def test_a_text_that_changes_in_dbt_changes_wherever_it_is_shown_and_nothing_else_does(copy: Path, venvs: Path) -> None:
    change(copy / "dbt/models/columns.md", "Whether the state still holds.", "True | of the last state.")
    manifest = parse(copy / "dbt", copy.parent / "parsed", venvs)
    before = {name: dataset(copy, name) for name in ("dim_customers_history", "dim_products_history")}
    files = [Path(DATASETS, f"{name}.yaml") for name in before] + [describe_marts.PAGE]
    texts = [(copy / file).read_text() for file in files]
    assert describe_marts.run(copy, manifest, check=True) == files
    assert [(copy / file).read_text() for file in files] == texts, "a check writes nothing"
    assert describe_marts.run(copy, manifest, check=False) == files
    assert describe_marts.run(copy, manifest, check=True) == []
    page = (copy / describe_marts.PAGE).read_text()
    assert page == texts[-1].replace("Whether the state still holds.", r"True \| of the last state.")
    for name, asset in before.items():
        (column,) = (column for column in asset["columns"] if column["column_name"] == "is_current")
        column["description"] = "True | of the last state."
        assert dataset(copy, name) == asset


def test_a_mart_without_a_dataset_or_with_other_columns_is_named(copy: Path, manifest: Path) -> None:
    file = copy / DATASETS / "dim_products.yaml"
    change(file, "column_name: cost\n", "column_name: costs\n")
    change(file, PRICE, PRICE.partition("    type")[0])
    with pytest.raises(describe_marts.DescribeError, match=r"mart dim_products and .*: cost, costs, price\. "):
        describe_marts.run(copy, manifest, check=False)
    file.unlink()
    with pytest.raises(describe_marts.DescribeError, match="mart dim_products has no dataset"):
        describe_marts.run(copy, manifest, check=False)


def test_a_page_without_its_lines_is_not_overwritten(copy: Path, manifest: Path) -> None:
    change(copy / describe_marts.PAGE, describe_marts.END, "")
    before = (copy / describe_marts.PAGE).read_text()
    with pytest.raises(describe_marts.DescribeError, match="End of dbt's descriptions"):
        describe_marts.run(copy, manifest, check=False)
    assert (copy / describe_marts.PAGE).read_text() == before
