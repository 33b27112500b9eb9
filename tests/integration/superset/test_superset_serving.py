"""Serving people: login, headers, SQL Lab on the warehouse with the rights of the read-only user."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests


def test_the_admin_logs_in_and_a_wrong_password_does_not(superset: Any) -> None:
    assert superset.login().status_code == 200
    assert superset.login("wrong").status_code == 401


def test_sql_lab_answers_on_a_mart(api: Any) -> None:
    answer = api.sql("SELECT count(*) AS days, sum(amount) AS amount FROM superset_test_days")
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["data"]
    assert (int(row["days"]), float(row["amount"])) == (90, 90.0)


def listed(answer: Any) -> list[tuple[str, str]]:
    names = ((row["value"], row["type"]) for row in answer["result"])
    return [row for row in names if row[0].startswith("superset_test_")]


@pytest.fixture(scope="module")
def view(api: Any, warehouse: Any) -> Iterator[str]:
    """The path of a list of tables with a view."""
    with warehouse.client("default") as admin:
        admin.command("CREATE VIEW analytics.superset_test_view AS SELECT 1 AS one")
        yield f"/api/v1/database/{api.database_id()}/tables/?q=(force:!t,schema_name:analytics)"
        admin.command("DROP VIEW analytics.superset_test_view")


def test_a_view_is_listed_once(api: Any, view: str) -> None:
    assert listed(api.get(view).json()) == [("superset_test_days", "table"), ("superset_test_view", "view")]


def test_the_fix_of_views_is_still_needed(without_fixes: Any, view: str) -> None:
    shown = listed(without_fixes((view, None)))
    assert ("superset_test_view", "table") in shown, (
        "A view is no table any more: remove stack_superset/fixes/views.py."
    )


def test_the_database_user_itself_refuses_writes(warehouse: Any) -> None:
    """SQL Lab's own switch is not the fence."""
    with (
        warehouse.client("superset") as client,
        pytest.raises(Exception, match=r"(?i)readonly|not enough privileges|access.denied"),
    ):
        client.command("INSERT INTO analytics.superset_test_days SELECT * FROM analytics.superset_test_days")


def test_the_browser_is_told_to_talk_to_nobody_else(superset: Any) -> None:
    headers = requests.get(f"{superset.url}/login/", headers={"Origin": "http://elsewhere.example"}, timeout=30).headers
    policy = headers["Content-Security-Policy"]
    assert "http:" not in policy and "https:" not in policy and "*" not in policy
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Set-Cookie"].startswith("superset_session=")
    assert "HttpOnly" in headers["Set-Cookie"] and "SameSite=Lax" in headers["Set-Cookie"]


def test_scripts_are_kept_by_browsers_whoever_is_logged_in(superset: Any) -> None:
    page = requests.get(f"{superset.url}/login/", timeout=30).text
    script = re.search(r'src="(/static/assets/[^"]+\.entry\.js)"', page)
    assert script
    answer = requests.get(superset.url + script[1], headers={"Accept-Encoding": "br"}, timeout=30)
    assert answer.headers["Vary"] == "Accept-Encoding" and "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Content-Encoding"] == "br"


def test_a_change_without_csrf_token_is_refused(superset: Any) -> None:
    token = superset.login().json()["access_token"]
    answer = requests.post(
        f"{superset.url}/api/v1/dashboard/",
        json={"dashboard_title": "no token"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert answer.status_code == 400
    assert "CSRF" in answer.text


def test_features_that_need_celery_are_off(api: Any) -> None:
    assert api.get("/api/v1/report/").status_code == 404
