from pathlib import Path

import pytest
from webhook.queue.runs import RunRequest
from webhook.web.selection import unknown_names


@pytest.fixture(scope="module")
def project(repo: Path) -> Path:
    return repo / "dbt"


@pytest.mark.parametrize(
    "selector",
    [
        *("fact_sales", "+fact_sales+1", "@stg_orders", "marts", "ecommerce.marts", "tag:any", "source:raw.orders"),
        *("path:models/marts", "models/marts", "stg_*", "fact_sales,marts", "unique_fact_sales_order_item_id"),
        *("stg_orders_rules", "fact_sales_has_every_order_item", "fact_sales.sql"),
    ],
)
def test_what_may_exist_is_left_to_dbt(project: Path, selector: str) -> None:
    assert unknown_names(RunRequest(select=(selector,)), project) == {}


@pytest.mark.parametrize("selector", ["source:erp+", "source:erp.targets+", "1+source:ecommerce.erp.targets"])
def test_a_source_that_no_model_reads_is_answered_with_those_that_are_read(project: Path, selector: str) -> None:
    ((name, near),) = unknown_names(RunRequest(select=(selector,)), project).items()
    assert name.startswith("source:")
    assert near == ["source:raw"]


def test_a_misspelt_model_is_answered_with_those_near_it(project: Path) -> None:
    unknown = unknown_names(RunRequest(select=("+fact_sale",), exclude=("nothing_like_it",)), project)
    assert "fact_sales" in unknown["fact_sale"]
    assert unknown["nothing_like_it"] == []
