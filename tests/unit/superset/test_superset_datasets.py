"""Every mart has a dataset, and its metrics are described."""

from pathlib import Path

import pytest
import yaml

ASSETS = Path(__file__).resolve().parents[3] / "superset/assets"
DATASETS = sorted((ASSETS / "shop/datasets").rglob("*.yaml"))


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
