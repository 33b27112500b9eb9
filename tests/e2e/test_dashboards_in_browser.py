"""The dashboards as people meet them, in headless Chromium: drawn, quiet, filtered, and closed to whom they are closed."""

from typing import Any

import figures
import pytest
from browser import Visitor
from playwright.sync_api import Browser
from superset_api import DASHBOARDS


def assert_drawn(visitor: Visitor, number: int, empty: list[str]) -> None:
    assert visitor.charts().count() == number
    assert visitor.errors() == []
    assert visitor.empty() == empty
    assert visitor.cut() == []
    assert visitor.complaints == []
    assert visitor.drawn() == number - len(empty)


CHARTS = {"sales": (8, []), "customers": (9, []), "pipeline-health": (6, ["Failed tests (no results is good)"])}


@pytest.mark.parametrize("slug", DASHBOARDS)
def test_every_chart_is_drawn_and_the_page_complains_of_nothing(
    admin_visitor: Visitor, believable: None, slug: str
) -> None:
    admin_visitor.complaints.clear()
    admin_visitor.open(slug)
    print(f"screenshot: {admin_visitor.picture(slug)}")
    assert_drawn(admin_visitor, *CHARTS[slug])


def test_a_filter_narrows_the_numbers_that_are_shown(admin_visitor: Visitor, source: Any, today: Any) -> None:
    admin_visitor.open("sales")
    admin_visitor.filter("State", "CA")
    admin_visitor.picture("sales-filtered")
    one = {"col": "customer_state", "op": "IN", "val": ["CA"]}
    time = {"col": "order_day", "op": "TEMPORAL_RANGE", "val": "Last quarter"}
    query = {"columns": [], "metrics": ["sales_net_revenue"], "filters": [time, one]}
    (wanted,) = figures.expected(source, "fact_sales", query, today, figures.period("Last quarter"))[()]
    assert f"{wanted:,.2f}" in admin_visitor.chart("Revenue").inner_text()
    assert admin_visitor.errors() == []


def test_drill_to_detail_shows_the_rows_behind_a_number(admin_visitor: Visitor, believable: None) -> None:
    admin_visitor.open("sales")
    admin_visitor.chart("Top products").locator("[aria-label='More Options']").first.click()
    admin_visitor.page.get_by_text("Drill to detail").first.click()
    detail = admin_visitor.page.get_by_role("dialog")
    detail.get_by_text("order_item_id").first.wait_for()
    admin_visitor.picture("sales-detail")
    assert detail.locator("tr, .virtual-table-cell, [role='row']").count() > 5


def test_a_viewer_sees_the_dashboards_and_is_kept_from_sql_lab(
    browser: Browser, url: str, people: dict[str, tuple[str, str]]
) -> None:
    viewer = Visitor(browser, url, *people["viewer"])
    viewer.complaints.clear()
    viewer.open("sales")
    assert_drawn(viewer, *CHARTS["sales"])
    assert viewer.page.get_by_text("SQL Lab").count() == 0
    refused = viewer.page.goto(f"{url}/sqllab/")
    assert refused is not None and refused.status == 403
