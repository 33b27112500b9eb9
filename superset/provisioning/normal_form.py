"""The normal form of an asset's file: a diff shows only what somebody changed.

Superset's exports contain database ids, defaults, and keys in the order of the last click. `reduce` removes them. `expand` restores the
defaults before an import, because Superset's import leaves fields unchanged that a file does not mention.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from provisioning import query_context

Asset = dict[str, Any]

COLUMN = {
    "verbose_name": None,
    "type": None,
    "advanced_data_type": None,
    "is_dttm": False,
    "is_active": True,
    "groupby": True,
    "filterable": True,
    "expression": None,
    "description": None,
    "python_date_format": None,
    "datetime_format": None,
    "extra": None,
}
METRIC = {
    "verbose_name": None,
    "metric_type": None,
    "description": None,
    "d3format": None,
    "currency": None,
    "extra": None,
    "warning_text": None,
}
DEFAULTS: dict[str, Asset] = {
    "databases": {"cache_timeout": None},
    "datasets": {
        "main_dttm_col": None,
        "currency_code_column": None,
        "description": None,
        "default_endpoint": None,
        "offset": 0,
        "cache_timeout": None,
        "catalog": None,
        "sql": None,
        "params": None,
        "template_params": None,
        "filter_select_enabled": True,
        "fetch_values_predicate": None,
        "extra": None,
        "normalize_columns": False,
        "always_filter_main_dttm": False,
        "folders": None,
    },
    "charts": {
        "description": None,
        "certified_by": None,
        "certification_details": None,
        "cache_timeout": None,
    },
    "dashboards": {
        "description": None,
        "css": None,
        "slug": None,
        "certified_by": None,
        "certification_details": None,
        "published": False,
    },
}
FIRST = (
    *("database_name", "table_name", "slice_name", "dashboard_title", "column_name", "metric_name", "verbose_name"),
    *("schema", "slug", "description", "uuid", "database_uuid", "dataset_uuid", "version"),
)
LAST = ("sql", "params", "query_context", "columns", "metrics", "metadata", "position")
# Fields that Superset computes, or whose values are valid in one database only.
NOISE = {
    "params": {
        "datasource",
        "slice_id",
        "dashboards",
        "url_params",
        "extra_form_data",
        "dashboardId",
        "annotation_layers",
    },
    "metadata": {"shared_label_colors", "map_label_colors", "color_scheme_domain", "default_filters"},
    "filter": {"chartsInScope", "tabsInScope"},
    "dashboard": {"theme_uuid", "theme_id", "tags"},
    "dataset": {"source_db_engine"},
    "chart": {"tags"},
    "database": {"configuration_method"},
}


def _without(asset: Mapping[str, Any], keys: set[str]) -> Asset:
    return {key: value for key, value in asset.items() if key not in keys}


def _significant(asset: Mapping[str, Any], defaults: Mapping[str, Any]) -> Asset:
    """Drops fields with their default value. A default of None covers every empty value."""
    kept = {}
    for key, value in asset.items():
        default = defaults.get(key)
        if value != default and (default is not None or value not in (None, "", [], {})):
            kept[key] = value
    return kept


def _ordered(asset: Mapping[str, Any]) -> Asset:
    middle = sorted(key for key in asset if key not in FIRST and key not in LAST)
    return {key: asset[key] for key in (*FIRST, *middle, *LAST) if key in asset}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value


def _in_order_of(items: Sequence[Asset], known: Sequence[str], name: str) -> list[Asset]:
    """Sorts items: known ones in the file's order, then new ones by name."""
    place = {key: number for number, key in enumerate(known)}
    return sorted(items, key=lambda item: (place.get(item[name], len(place)), item[name]))


def _dataset(asset: Asset, before: Mapping[str, Any]) -> Asset:
    reduced = _significant(_without(asset, NOISE["dataset"]), DEFAULTS["datasets"])
    for field, name, defaults in (("columns", "column_name", COLUMN), ("metrics", "metric_name", METRIC)):
        items = []
        for item in asset.get(field) or []:
            item = {key: _loaded(value) if key in ("extra", "currency") else value for key, value in item.items()}
            items.append(_ordered(_significant(_without(item, {"uuid"}), defaults)))
        reduced[field] = _in_order_of(items, [item[name] for item in before.get(field) or []], name)
    return reduced


def _database(asset: Asset) -> Asset:
    # Exported under one name, imported under another.
    asset = {{"allow_csv_upload": "allow_file_upload"}.get(key, key): value for key, value in asset.items()}
    return _significant(_without(asset, NOISE["database"]), DEFAULTS["databases"])


def _chart(asset: Asset) -> Asset:
    reduced = _significant(_without(asset, NOISE["chart"]), DEFAULTS["charts"])
    reduced["params"] = _sorted(_without(asset.get("params") or {}, NOISE["params"]))
    if asset["viz_type"] in query_context.KINDS:
        reduced.pop("query_context", None)
    elif reduced.get("query_context"):
        context = _without(json.loads(reduced["query_context"]), {"datasource"})
        context["form_data"] = _without(context.get("form_data") or {}, NOISE["params"])
        reduced["query_context"] = json.dumps(context, sort_keys=True)
    return reduced


def _layout(position: Mapping[str, Any], key: str) -> Iterator[str]:
    """Yields the parts of a dashboard from top left to bottom right, each after its parent."""
    if key in position:
        yield key
        for child in position[key].get("children", []):
            yield from _layout(position, child)


def _dashboard(asset: Asset) -> Asset:
    reduced = _significant(_without(asset, NOISE["dashboard"]), DEFAULTS["dashboards"])
    position = asset["position"]
    shown = list(_layout(position, "ROOT_ID"))
    rest = sorted(key for key in position if key not in shown)
    numbers: dict[int, int] = {}
    for key in shown:
        if position[key].get("type") == "CHART":
            numbers.setdefault(position[key]["meta"]["chartId"], len(numbers) + 1)

    def own(value: Any, key: str = "") -> Any:
        """Replaces the database's chart ids by numbers of this file."""
        if isinstance(value, dict):
            if key == "chart_configuration":
                value = {
                    str(numbers[int(chart)]): {**one, "id": numbers[int(chart)]}
                    for chart, one in value.items()
                    if int(chart) in numbers
                }
            return {name: own(value[name], name) for name in sorted(value) if name not in NOISE["filter"]}
        if isinstance(value, list):
            if key in ("excluded", "timed_refresh_immune_slices"):
                return sorted(numbers[chart] for chart in value if chart in numbers)
            return [own(item) for item in value]
        return numbers[value] if key == "chartId" else value

    metadata = _without(asset.get("metadata") or {}, NOISE["metadata"])
    reduced["metadata"] = own({key: value for key, value in metadata.items() if value not in (None, "", [], {})})
    reduced["position"] = {key: own(position[key]) for key in (*shown, *rest)}
    return reduced


def _with_names(value: Any, currency: str) -> Any:
    """Replaces the shop's currency by `${SHOP_CURRENCY}`."""
    if isinstance(value, dict):
        if set(value) == {"symbol", "symbolPosition"} and value["symbol"] == currency:
            return {**value, "symbol": "${SHOP_CURRENCY}"}
        return {key: _with_names(inner, currency) for key, inner in value.items()}
    return [_with_names(inner, currency) for inner in value] if isinstance(value, list) else value


def reduce(kind: str, asset: Asset, before: Mapping[str, Any], currency: str) -> Asset:
    """Returns an asset, exported or from a file, in normal form. `before` is the present content of its file and gives the order of columns."""
    ways: dict[str, Callable[[], Asset]] = {
        "databases": lambda: _database(asset),
        "datasets": lambda: _dataset(asset, before),
        "charts": lambda: _chart(asset),
        "dashboards": lambda: _dashboard(asset),
    }
    reduced = ways[kind]()
    named: Asset = _with_names(_ordered(reduced), currency)
    return named


def expand(kind: str, asset: Asset) -> Asset:
    """Returns the asset of a file with all defaults."""
    whole = DEFAULTS.get(kind, {}) | asset
    for field, defaults in (("columns", COLUMN), ("metrics", METRIC)):
        if kind == "datasets":
            whole[field] = [defaults | item for item in asset.get(field) or []]
    return whole


class _Dumper(yaml.SafeDumper):
    """Dumps multi-line texts as block scalars."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dump(asset: Asset) -> str:
    """Returns the YAML of an asset's file."""
    return yaml.dump(asset, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
