"""The columns of tables as the warm dbt remembers them: never those of before a change."""

from collections.abc import Callable
from typing import Any

import pytest
from webhook.dbt_questions import KnownColumns

FACTS, DAYS = ("", "analytics", "facts"), ("", "analytics", "days")


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def known(asked: list[str]) -> KnownColumns:
    known = KnownColumns()
    for key in (FACTS, DAYS):
        known.get(key, answer(asked, key[-1]))
    asked.clear()
    return known


def answer(asked: list[str], name: str) -> Callable[[], list[Any]]:
    def read() -> list[Any]:
        asked.append(name)
        return [name]

    return read


@pytest.mark.parametrize(
    "sql",
    [
        "select * from facts",
        "/* a node's name */ insert into analytics.facts select 1",
        "-- as it was\nexists analytics.facts",
        "alter table analytics.other add column a Int8",
    ],
)
def test_they_are_asked_for_once(known: KnownColumns, asked: list[str], sql: str) -> None:
    known.forget_after(sql)
    assert known.get(FACTS, answer(asked, "facts")) == ["facts"]
    assert asked == []


@pytest.mark.parametrize(
    ("sql", "forgotten"),
    [
        ("alter table `analytics`.`facts` add column a Int8", ["facts"]),
        ("EXCHANGE TABLES analytics.facts AND analytics.days", ["facts", "days"]),
        ("/* about facts */ drop table if exists days", ["facts", "days"]),
        ("drop database analytics", ["facts", "days"]),
    ],
)
def test_a_statement_that_may_change_them_is_a_reason_to_ask_again(
    known: KnownColumns, asked: list[str], sql: str, forgotten: list[str]
) -> None:
    known.forget_after(sql)
    for key in (FACTS, DAYS):
        known.get(key, answer(asked, key[-1]))
    assert asked == forgotten


def test_a_name_that_is_written_with_escapes_is_forgotten_after_any_change(asked: list[str]) -> None:
    known = KnownColumns()
    odd = ("", "analytics", "a`b")
    known.get(odd, answer(asked, "odd"))
    known.forget_after("alter table analytics.`a\\`b` add column a Int8")
    known.get(odd, answer(asked, "odd"))
    assert asked == ["odd", "odd"]


def test_an_answer_that_another_thread_has_overtaken_is_not_kept(asked: list[str]) -> None:
    known = KnownColumns()

    def read_while_it_changes() -> list[Any]:
        known.forget_after("alter table analytics.facts add column a Int8")
        return ["old"]

    known.get(FACTS, read_while_it_changes)
    assert known.get(FACTS, answer(asked, "facts")) == ["facts"]
