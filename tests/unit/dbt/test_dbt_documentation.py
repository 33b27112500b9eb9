"""Every model has its yml, no description is written twice, and every dashboard is an exposure."""

import re
from collections import Counter
from pathlib import Path

import yaml

BLOCK = re.compile(r"{% docs (\w+) %}\n(.*?)\n{% enddocs %}", re.DOTALL)


def test_every_model_has_its_yml_beside_it(repo: Path) -> None:
    for path in (repo / "dbt/models").rglob("*.sql"):
        (model,) = yaml.safe_load(path.with_suffix(".yml").read_text())["models"]
        assert model["name"] == path.stem


def test_no_description_of_the_shops_columns_is_written_twice(repo: Path) -> None:
    """A text of several models stands in dbt/models/columns.md."""
    files = [*(repo / "dbt/models").glob("*/shop/*.yml"), *(repo / "dbt/snapshots/shop").glob("*.yml")]
    items = [
        item
        for file in files
        for kind in ("models", "snapshots")
        for item in yaml.safe_load(file.read_text()).get(kind, [])
    ]
    texts = Counter(column["description"] for item in items for column in item["columns"])
    shared = dict(BLOCK.findall((repo / "dbt/models/columns.md").read_text()))
    assert len(texts) > 50 and len(shared) > 20
    assert [text for text, times in texts.items() if times > 1 and "doc(" not in text] == []
    assert [text for text in texts if text in shared.values()] == []
    assert [name for name in shared if f"doc('{name}')" not in "".join(file.read_text() for file in files)] == []


def test_every_dashboard_is_an_exposure(repo: Path) -> None:
    exposures = yaml.safe_load((repo / "dbt/models/marts/shop/exposures.yml").read_text())["exposures"]
    known = {exposure["label"] for exposure in exposures if exposure["type"] == "dashboard"}
    assets = repo / "superset/assets/shop"
    titles = {yaml.safe_load(file.read_text())["dashboard_title"] for file in assets.rglob("dashboards/**/*.yaml")}
    assert titles == known
    datasets = {file.stem for file in assets.rglob("datasets/**/*.yaml")}
    exposed = set(re.findall(r"ref\('(\w+)'\)", str(exposures)))
    assert datasets <= exposed
