"""The lists of the imitations. Items are JSON texts, so that a number has the digits that stand here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

_CATEGORIES = ("electronics", "jewelery", "men's clothing", "women's clothing")
_FIRST_ISSUE = datetime(2026, 1, 1, tzinfo=UTC)


def products(count: int = 20) -> list[str]:
    """Products as FakeStore has them; prices have two digits behind the point, zeros too."""
    return [
        f'{{"id":{i},"title":"Product {i}","price":{i * 5 + 4}.{i * 10 % 100:02},"description":"Line 1\\nLine \\"2\\" of \\u00fc\\t{i}",'
        f'"category":{json.dumps(_CATEGORIES[i % 4])},"image":"https://example.com/{i}.png","rating":{{"rate":{i % 5}.{i % 10},"count":{i * 7}}}}}'
        for i in range(1, count + 1)
    ]


def users(count: int = 10) -> list[str]:
    """Users as FakeStore has them, with passwords in the clear."""
    return [
        f'{{"address":{{"geolocation":{{"lat":"-37.3159","long":"81.1496"}},"city":"city {i}","street":"street {i}","number":{i},"zipcode":"12926-{i:04}"}},'
        f'"id":{i},"email":"user{i}@example.com","username":"user{i}","password":"secret-of-user-{i}",'
        f'"name":{{"firstname":"first{i}","lastname":"last{i}"}},"phone":"1-570-236-{i:04}","__v":0}}'
        for i in range(1, count + 1)
    ]


def carts(count: int = 7) -> list[str]:
    """Carts as FakeStore has them."""
    found = []
    for i in range(1, count + 1):
        lines = ",".join(f'{{"productId":{(i * 3 + k) % 20 + 1},"quantity":{k + 1}}}' for k in range(1 + i % 3))
        day = f"2020-03-{i:02}T00:00:00.000Z"
        found.append(f'{{"id":{i},"userId":{(i + 1) // 2},"date":"{day}","products":[{lines}],"__v":0}}')
    return found


def issue(number: int, updated_at: datetime, comments: int = 0) -> str:
    """An issue as GitHub has it; every fifth is a pull request."""
    created = _text(min(updated_at, _FIRST_ISSUE))
    item = {
        "id": 2_000_000_000_000 + number,
        "number": number,
        "title": f"Issue {number}",
        "user": {"login": f"user{number % 7}", "id": number % 7, "type": "Bot" if number % 7 == 0 else "User"},
        "state": "closed" if number % 3 == 0 else "open",
        "comments": comments,
        "created_at": created,
        "updated_at": _text(updated_at),
        "body": f"Text of {number}",
    }
    if number % 5 == 0:
        item["pull_request"] = {"url": f"https://example.com/pulls/{number}"}
    return json.dumps(item, separators=(",", ":"))


def issues(count: int = 250, first: datetime = _FIRST_ISSUE, step: timedelta = timedelta(minutes=17)) -> list[str]:
    """Issues, each updated some time after the one before."""
    return [issue(number, first + number * step) for number in range(1, count + 1)]


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
