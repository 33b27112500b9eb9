"""Rules of this project for `dbt-score lint`: layers, grain, keys, money, freshness, history."""

import re

from dbt_score import Exposure, Model, RuleViolation, Snapshot, Source, rule
from dbt_score.models import HasColumnsMixin, Test

PREFIXES = {"staging": "stg_", "intermediate": "int_", "marts": ("fact_", "dim_", "agg_")}
GRAIN = "one row for each"
# What one piece brings at its list price is an attribute of the product: nothing was sold yet.
NOT_SOLD_YET = {"unit_margin", "profit_margin"}


def _layer(path: str) -> str:
    """`marts` for models/marts/shop/fact_sales.sql."""
    return path.split("/")[1]


def _kinds(tests: list[Test]) -> set[str]:
    return {test.type for test in tests}


def _is_key(item: HasColumnsMixin, column: str) -> bool:
    return any(found.name == column and {"unique", "not_null"} <= _kinds(found.tests) for found in item.columns)


@rule
def name_says_the_layer(model: Model) -> RuleViolation | None:
    """A model lies in a layer, and its name begins as the layer's names do."""
    layer = _layer(model.original_file_path)
    if layer not in PREFIXES:
        return RuleViolation(f"Folder {layer} is no layer: use {', '.join(PREFIXES)}.")
    if not model.name.startswith(PREFIXES[layer]):
        return RuleViolation(f"A model of {layer} begins with {PREFIXES[layer]}.")
    return None


@rule
def description_tells_the_grain(model: Model) -> RuleViolation | None:
    """A description says what one row is."""
    if GRAIN not in model.description.lower():
        return RuleViolation(f"The description does not say '{GRAIN}'.")
    return None


@rule
def has_a_tested_key(model: Model) -> RuleViolation | None:
    """The first column is unique and never NULL, or several are together, or there are as many rows as in another mart."""
    together = {"unique_combination_of_columns", "equal_rowcount"} & _kinds(model.tests)
    if not together and not (model.columns and _is_key(model, model.columns[0].name)):
        return RuleViolation(
            "No key is tested: unique and not_null on the first column, or unique_combination_of_columns on the model."
        )
    return None


@rule
def only_staging_reads_sources(model: Model) -> RuleViolation | None:
    """A staging view reads one source and nothing else; no other model reads one."""
    read = model.depends_on.get("nodes", [])
    sources = [name for name in read if name.startswith("source.")]
    if _layer(model.original_file_path) == "staging":
        if len(read) != 1 or len(sources) != 1:
            return RuleViolation("A staging view reads one source, and no model.")
        if model.config.get("materialized") != "view":
            return RuleViolation("A staging model is a view.")
    elif sources:
        return RuleViolation(f"Reads {', '.join(sources)}: only staging does.")
    return None


@rule
def mart_says_why_it_is_stored_so(model: Model) -> RuleViolation | None:
    """A mart begins with the reason for its order and engine, and gives them."""
    if _layer(model.original_file_path) == "marts":
        first, _, rest = model.raw_code.partition("\n")
        if not first.startswith("-- ") or "config(" not in rest:
            return RuleViolation("Begin with a line '-- why', then config(order_by=...).")
    return None


@rule
def money_says_gross_or_net(model: Model) -> RuleViolation | None:
    """No measure of money in a mart can be misread: its name begins with gross_ or net_."""
    if _layer(model.original_file_path) == "marts":
        allowed = NOT_SOLD_YET if model.name == "dim_products" else set()
        money = {column.name for column in model.columns if re.search("revenue|margin|amount", column.name)}
        wrong = sorted(name for name in money - allowed if not name.startswith(("gross_", "net_")))
        if wrong:
            return RuleViolation(f"Not named gross_ or net_: {', '.join(wrong)}.")
    return None


@rule
def history_is_described_and_tested(snapshot: Snapshot) -> RuleViolation | None:
    """A snapshot tells its grain, and its states have a key and a beginning."""
    if GRAIN not in snapshot.description.lower():
        return RuleViolation(f"The description does not say '{GRAIN}'.")
    begun = {column.name for column in snapshot.columns if "not_null" in _kinds(column.tests)}
    if not _is_key(snapshot, "dbt_scd_id") or "dbt_valid_from" not in begun:
        return RuleViolation("Test dbt_scd_id as unique and not_null, and dbt_valid_from as not_null.")
    return None


@rule
def source_is_described_and_kept_fresh(source: Source) -> RuleViolation | None:
    """A source says what it is, and how old it may become."""
    if not source.description:
        return RuleViolation("The table has no description.")
    freshness = source.config.get("freshness") or {}
    if not (freshness.get("error_after") or {}).get("count"):
        return RuleViolation("No freshness: say error_after.")
    return None


@rule
def exposure_has_an_owner(exposure: Exposure) -> RuleViolation | None:
    """Who is told when a mart changes: an exposure has an owner and says what it shows."""
    if not exposure.owner.get("name") or not exposure.description:
        return RuleViolation("Give it an owner and a description.")
    return None
