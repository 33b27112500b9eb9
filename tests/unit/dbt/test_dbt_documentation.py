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


def test_only_staging_reads_raw_and_each_staging_view_reads_one_table(repo: Path) -> None:
    for path in (repo / "dbt").rglob("*.sql"):
        if "macros" in path.parts or "target" in path.parts:
            continue
        sources = re.findall(r"\bsource\(", path.read_text())
        assert len(sources) == (1 if "staging" in path.parts else 0), path
        assert "raw." not in re.sub(r"--.*", "", path.read_text()), path


def test_names_say_the_layer_and_marts_give_the_reason_for_their_order(repo: Path) -> None:
    layers = {"staging": ("stg_",), "intermediate": ("int_",), "marts": ("fact_", "dim_", "agg_")}
    for path in (repo / "dbt/models").rglob("*.sql"):
        layer = path.relative_to(repo / "dbt/models").parts[0]
        assert path.stem.startswith(layers[layer]), path
        if layer == "marts":
            first, *rest = path.read_text().splitlines()
            assert first.startswith("-- ") and any("config(" in line for line in rest[:6]), path


def test_snapshots_are_described_and_tested(repo: Path) -> None:
    for path in (repo / "dbt/snapshots").rglob("*.yml"):
        (snapshot,) = yaml.safe_load(path.read_text())["snapshots"]
        assert snapshot["name"] == path.stem and "one row for each" in snapshot["description"].lower()
        tested = {column["name"]: set(column.get("data_tests", [])) for column in snapshot["columns"]}
        assert {"unique", "not_null"} <= tested["dbt_scd_id"] and "not_null" in tested["dbt_valid_from"]


def test_every_dashboard_is_an_exposure(repo: Path) -> None:
    exposures = yaml.safe_load((repo / "dbt/models/marts/shop/exposures.yml").read_text())["exposures"]
    known = {exposure["label"] for exposure in exposures if exposure["type"] == "dashboard"}
    assets = repo / "superset/assets/shop"
    titles = {yaml.safe_load(file.read_text())["dashboard_title"] for file in assets.rglob("dashboards/**/*.yaml")}
    assert titles == known
    datasets = {file.stem for file in assets.rglob("datasets/**/*.yaml")}
    exposed = set(re.findall(r"ref\('(\w+)'\)", str(exposures)))
    assert datasets <= exposed
