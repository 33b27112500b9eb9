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


def test_every_dashboard_is_an_exposure(repo: Path) -> None:
    exposures = yaml.safe_load((repo / "dbt/models/marts/shop/exposures.yml").read_text())["exposures"]
    known = {exposure["label"] for exposure in exposures if exposure["type"] == "dashboard"}
    assets = repo / "superset/assets/shop"
    titles = {yaml.safe_load(file.read_text())["dashboard_title"] for file in assets.rglob("dashboards/**/*.yaml")}
    assert titles == known
    datasets = {file.stem for file in assets.rglob("datasets/**/*.yaml")}
    exposed = set(re.findall(r"ref\('(\w+)'\)", str(exposures)))
    assert datasets <= exposed
