"""Every model has its yml, and docs/marts.md says the same as the ymls."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def models(repo: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in (repo / "dbt/models").rglob("*.sql"):
        (model,) = yaml.safe_load(path.with_suffix(".yml").read_text())["models"]
        assert model["name"] == path.stem
        found[path.stem] = model | {"is_mart": "marts" in path.parts}
    return found


def test_every_model_tells_its_grain_and_every_column_its_meaning(models: dict[str, dict[str, Any]]) -> None:
    for name, model in models.items():
        assert "one row for each" in model["description"].lower(), name
        assert [column["name"] for column in model["columns"] if not column.get("description")] == [], name


def test_every_model_has_a_tested_key(models: dict[str, dict[str, Any]]) -> None:
    for name, model in models.items():
        tests = [test for test in model["columns"][0].get("data_tests", []) if isinstance(test, str)]
        together = any("unique_together" in test for test in model.get("data_tests", []))
        assert "not_null" in tests and ("unique" in tests or together), name


def test_the_page_of_marts_lists_every_column_as_the_models_describe_it(
    repo: Path, models: dict[str, dict[str, Any]]
) -> None:
    page = (repo / "docs/marts.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    marts = {name: model for name, model in models.items() if model["is_mart"]}
    assert sections.keys() == marts.keys()
    for name, model in marts.items():
        listed = re.findall(r"^\| `(\w+)` \| `[^`]+` \| (.+) \|$", sections[name], re.MULTILINE)
        assert listed == [(column["name"], column["description"]) for column in model["columns"]]
        assert model["description"] in sections[name]


def test_no_measure_of_money_can_be_misread(models: dict[str, dict[str, Any]]) -> None:
    for name, model in models.items():
        if model["is_mart"]:
            money = {c["name"] for c in model["columns"] if re.search("revenue|margin|amount", c["name"])}
            # What one piece brings at its list price is an attribute of the product: nothing was sold yet.
            attributes = {"unit_margin", "profit_margin"} if name == "dim_products" else set()
            assert [column for column in money - attributes if not column.startswith(("gross_", "net_"))] == [], name
