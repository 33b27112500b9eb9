"""Each kind of paging brings every item of a list, over HTTP; a list that would never end is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from testing.demo_api import data
from warehouse.errors import TerminalError

ISSUES = {"path": "/repos/a/b/issues", "params": {"sort": "updated", "direction": "asc", "per_page": 100}}
KEYSET = {"keyset": {"param": "since", "field": "updated_at", "page": "page", "size": 100}}


@pytest.mark.parametrize(
    ("endpoint", "requests"),
    [
        ({"path": "/products", "paging": "none"}, 1),
        ({"path": "/by_page", "paging": {"page": {"size": 10, "size_param": "size"}}}, 3),
        ({"path": "/by_page", "paging": "page", "params": {"size": 6}}, 5),
        ({"path": "/by_offset", "paging": {"offset": {"size": 9}}}, 3),
        ({"path": "/by_cursor", "records": "data.items", "paging": {"cursor": {"param": "cursor", "at": "next"}}}, 3),
        (
            {
                "path": "/by_last_id",
                "records": "data",
                "paging": {"cursor": {"param": "starting_after", "field": "id", "more": "has_more"}},
            },
            4,
        ),
        ({"path": "/by_body_link", "records": "items", "paging": {"link": {"at": "next"}}}, 3),
    ],
)
def test_every_item_comes_once_and_in_order(api: Any, endpoint: dict[str, Any], requests: int) -> None:
    manifest = api.fetch(endpoint)
    assert api.items(manifest) == api.demo.products and manifest.items == 20
    assert len(api.demo.seen) == requests


def test_the_link_header_is_followed(api: Any) -> None:
    manifest = api.fetch({**ISSUES, "paging": "link"})
    assert api.ids(manifest) == [json.loads(item)["id"] for item in api.demo.issues] and len(api.demo.seen) == 3
    assert [one.path.rsplit("/", 1)[-1] for one in manifest.objects] == [f"page-0000{n}.jsonl.gz" for n in (1, 2, 3)]


def _touch(api: Any, number: int) -> None:
    """Two issues of the first page move to the end, as GitHub's do when somebody comments."""
    if number == 2:
        now = datetime(2026, 1, 20, tzinfo=UTC)
        for place in (10, 20):
            api.demo.issues[place] = data.issue(place + 1, now + timedelta(seconds=place), comments=1)


def test_a_keyset_loses_nothing_of_a_list_that_changes_while_it_is_read(api: Any) -> None:
    api.demo.before = lambda number: _touch(api, number)
    found = api.ids(api.fetch({**ISSUES, "paging": KEYSET}))
    assert set(found) == {json.loads(item)["id"] for item in api.demo.issues}
    # Repeats are kept: two touched issues, and the last one of each page.
    assert len(found) - len(set(found)) == 4


def test_page_numbers_over_the_same_list_do_lose_items(api: Any) -> None:
    """Why a keyset is there; should this fail, the imitation does not imitate."""
    api.demo.before = lambda number: _touch(api, number)
    found = set(api.ids(api.fetch({**ISSUES, "paging": {"page": {"size": 100}}})))
    assert len(found) == 248


def test_more_items_of_one_instant_than_fit_on_a_page_are_paged(api: Any) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    api.demo.issues = [data.issue(number, at) for number in range(1, 251)] + [data.issue(251, at + timedelta(days=1))]
    assert set(api.ids(api.fetch({**ISSUES, "paging": KEYSET}))) == {2_000_000_000_000 + n for n in range(1, 252)}
    without = {"keyset": {"param": "since", "field": "updated_at", "size": 100}}
    with pytest.raises(TerminalError, match="more items of updated_at 2026-01-05T00:00:00Z than fit on a page"):
        api.fetch({**ISSUES, "paging": without}, run=2)


def test_a_keyset_whose_page_numbers_the_api_does_not_know_ends(api: Any) -> None:
    api.demo.issues = [data.issue(number, datetime(2026, 1, 5, tzinfo=UTC)) for number in range(1, 251)]
    keyset = {"keyset": {"param": "since", "field": "updated_at", "page": "pagina", "size": 100}}
    with pytest.raises(TerminalError, match="answers with the same page twice"):
        api.fetch({**ISSUES, "paging": keyset})


def test_a_keyset_without_a_size_ends(api: Any) -> None:
    keyset = {"keyset": {"param": "since", "field": "updated_at", "page": "page"}}
    assert len(set(api.ids(api.fetch({**ISSUES, "paging": keyset})))) == 250


def test_since_and_until_bound_a_day(api: Any) -> None:
    manifest = api.fetch({**ISSUES, "paging": KEYSET, "since": "interval_start", "until": "interval_end"})
    days = {json.loads(item)["updated_at"][:10] for item in api.items(manifest)}
    assert days == {"2026-01-02"} and manifest.items == 85
    assert [one.query["since"] for one in api.demo.seen] == ["2026-01-02T00:00:00Z"]


def test_an_order_that_is_not_the_keysets_is_refused(api: Any) -> None:
    params = {"sort": "updated", "direction": "desc", "per_page": 100}
    with pytest.raises(TerminalError, match="does not give its items in the order of updated_at"):
        api.fetch({**ISSUES, "params": params, "paging": KEYSET})


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ({"path": "/products", "paging": "page"}, "answers with the same page twice"),
        (
            {"path": "/by_cursor", "records": "data.items", "paging": {"cursor": {"param": "place", "at": "next"}}},
            "gives the cursor '7' twice|answers with the same page twice",
        ),
    ],
)
def test_a_list_that_would_never_end_is_refused(api: Any, endpoint: dict[str, Any], words: str) -> None:
    with pytest.raises(TerminalError, match=words):
        api.fetch(endpoint)
    assert len(api.demo.seen) == 2


def test_for_each_value_there_is_a_list(api: Any) -> None:
    endpoint = {"path": "/repos/{repo}/issues", "for_each": {"repo": ["a/b", "c/d"]}, "params": {"per_page": 100}}
    manifest = api.fetch({**endpoint, "paging": "link"})
    assert manifest.items == 500 and len(manifest.objects) == 6
    assert [one.path for one in api.demo.seen[::3]] == ["/repos/a/b/issues", "/repos/c/d/issues"]


def test_names_in_braces_are_those_of_the_day(api: Any) -> None:
    params = {"from": "{start}", "to": "{end}", "epoch": "{start_epoch}", "dt": "{day}"}
    api.fetch({"path": "/products", "params": params})
    assert api.demo.seen[0].query == {
        "from": "2026-01-02T00:00:00Z",
        "to": "2026-01-03T00:00:00Z",
        "epoch": "1767312000",
        "dt": "2026-01-02",
    }
