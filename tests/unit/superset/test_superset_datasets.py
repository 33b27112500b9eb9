"""The datasets in the files describe the marts as they are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ASSETS = Path(__file__).resolve().parents[3] / "superset/assets"
DATASETS = sorted((ASSETS / "shop/datasets").rglob("*.yaml"))


@pytest.mark.parametrize("file", DATASETS, ids=lambda file: file.stem)
def test_a_dataset_has_the_columns_of_its_mart_with_their_descriptions(file: Path, repo: Path) -> None:
    dataset = yaml.safe_load(file.read_text())
    (properties,) = (repo / "dbt/models/marts").rglob(f"{dataset['table_name']}.yml")
    (mart,) = yaml.safe_load(properties.read_text())["models"]

    def described(columns: list[dict[str, Any]], name: str) -> dict[str, str]:
        return {column[name]: " ".join(column["description"].split()) for column in columns}

    columns = [column for column in dataset["columns"] if not column.get("expression")]
    assert described(columns, "column_name") == described(mart["columns"], "name")


def test_every_mart_has_a_dataset(repo: Path) -> None:
    assert {file.stem for file in DATASETS} == {file.stem for file in (repo / "dbt/models/marts").rglob("*.sql")}


@pytest.mark.parametrize("file", sorted(ASSETS.glob("*/datasets/*/*.yaml")), ids=lambda file: file.stem)
def test_metrics_are_described_formatted_and_not_named_like_columns(file: Path) -> None:
    dataset = yaml.safe_load(file.read_text())
    columns = {column["column_name"] for column in dataset["columns"]}
    for metric in dataset["metrics"]:
        assert metric["metric_name"] not in columns
        assert metric["description"].endswith(".")
        assert metric["d3format"]
