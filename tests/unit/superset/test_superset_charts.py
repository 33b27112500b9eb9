"""The charts and dashboards in the files ask for what their datasets have, and are written in their normal form."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from provisioning import normal_form, query_context
from provisioning.bundles import bundle_folders, read_contents
from provisioning.complete import complete

ASSETS = Path(__file__).resolve().parents[3] / "superset/assets"
FILES = {kind: sorted(ASSETS.glob(f"*/{kind}/**/*.yaml")) for kind in ("datasets", "charts", "dashboards")}


def read(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


DATASETS = {dataset["uuid"]: dataset for dataset in map(read, FILES["datasets"])}


@pytest.mark.parametrize("file", FILES["charts"], ids=lambda file: file.stem)
def test_a_chart_asks_only_for_columns_and_metrics_of_its_dataset(file: Path) -> None:
    chart = read(file)
    dataset = DATASETS[chart["dataset_uuid"]]
    columns = {column["column_name"] for column in dataset["columns"]}
    metrics = {metric["metric_name"] for metric in dataset["metrics"]}
    (query,) = query_context.build(chart["params"], columns)["queries"]
    asked = {column if isinstance(column, str) else column["sqlExpression"] for column in query["columns"]}
    asked |= {one["col"] for one in query["filters"]}
    assert asked <= columns
    assert set(query.get("metrics", [])) <= metrics
    assert {by for by, _ascending in query["orderby"]} <= columns | metrics
    assert chart["description"].endswith(".")


@pytest.mark.parametrize(
    "file", [*FILES["datasets"], *FILES["charts"], *FILES["dashboards"]], ids=lambda file: file.stem
)
def test_a_file_is_as_the_export_would_write_it(file: Path) -> None:
    asset = read(file)
    kind = file.relative_to(ASSETS).parts[1]
    assert file.read_text() == normal_form.dump(normal_form.reduce(kind, asset, asset, ""))


def test_every_chart_is_on_a_dashboard() -> None:
    shown = {
        part["meta"]["uuid"]
        for file in FILES["dashboards"]
        for part in read(file)["position"].values()
        if isinstance(part, dict) and part["type"] == "CHART"
    }
    assert shown == {read(file)["uuid"] for file in FILES["charts"]}


def test_every_chart_gets_its_query_and_every_default_is_written_out() -> None:
    whole = complete(read_contents(bundle_folders(ASSETS, sample_shop=True), {"SHOP_CURRENCY": "EUR"}))
    charts = [yaml.safe_load(text) for name, text in whole.items() if name.startswith("charts/")]
    assert len(charts) == len(FILES["charts"])
    assert all(json.loads(chart["query_context"])["queries"] for chart in charts)
    facts = yaml.safe_load(whole["datasets/Warehouse/fact_sales.yaml"])
    assert facts["sql"] is None and all(column["is_active"] for column in facts["columns"])


def test_what_differs_between_two_databases_is_not_in_the_normal_form() -> None:
    """Ids, defaults, the order of keys and of columns, and what the browser adds by itself."""
    chart = {"slice_name": "c", "uuid": "u", "viz_type": "table", "params": {"b": 1, "a": {"d": 1, "c": 2}}}
    noisy = {
        **chart,
        "cache_timeout": None,
        "query_context": "{}",
        "params": {"a": {"c": 2, "d": 1}, "datasource": "7__table", "b": 1},
    }
    assert normal_form.dump(normal_form.reduce("charts", noisy, {}, "")) == normal_form.dump(
        normal_form.reduce("charts", chart, {}, "")
    )

    def dashboard(chart: int, other: int, **more: Any) -> dict[str, Any]:
        position = {
            "ROOT_ID": {"type": "ROOT", "children": ["A", "B"]},
            "A": {"type": "CHART", "meta": {"chartId": chart, "uuid": "a"}},
            "B": {"type": "CHART", "meta": {"chartId": other, "uuid": "b"}},
        }
        scope = {"excluded": [other], "rootPath": ["ROOT_ID"]}
        return {
            "dashboard_title": "d",
            "uuid": "u",
            "metadata": {
                "native_filter_configuration": [{"scope": scope, **more}],
                "chart_configuration": {str(other): {"id": other}},
            },
            "position": position,
        }

    first = normal_form.reduce("dashboards", dashboard(1, 2), {}, "")
    assert first == normal_form.reduce("dashboards", dashboard(41, 12, chartsInScope=[41]), {}, "")
    columns = [{"column_name": name, "is_dttm": False} for name in ("b", "a", "c")]
    known = {"columns": [{"column_name": "a"}, {"column_name": "b"}]}
    dataset = normal_form.reduce(
        "datasets", {"table_name": "t", "uuid": "u", "columns": columns, "metrics": []}, known, ""
    )
    assert dataset["columns"] == [{"column_name": "a"}, {"column_name": "b"}, {"column_name": "c"}]


def test_the_shop_s_currency_becomes_its_name_again() -> None:
    metric = {
        "metric_name": "m",
        "expression": "1",
        "currency": json.dumps({"symbol": "EUR", "symbolPosition": "prefix"}),
    }
    dataset = normal_form.reduce("datasets", {"table_name": "t", "uuid": "u", "metrics": [metric]}, {}, "EUR")
    assert dataset["metrics"][0]["currency"]["symbol"] == "${SHOP_CURRENCY}"
