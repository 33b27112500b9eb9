"""What the warm dbt puts in the place of a dict of macros: made late, and otherwise the same."""

import copy
from collections import ChainMap
from collections.abc import Callable
from typing import Any

import pytest
from webhook.dbt_macros import Late, LateMapping

WHOLE = {"a": 10, "b": 20}


@pytest.fixture
def made() -> list[int]:
    return []


@pytest.fixture
def late(made: list[int]) -> Late:
    def make(place: int) -> int:
        made.append(place)
        return place * 10

    return Late({"a": 1, "b": 2}, make)


def test_a_member_is_made_when_it_is_asked_for_and_once(late: Late, made: list[int]) -> None:
    assert "a" in late and "c" not in late and bool(late) and late.get("c", 5) == 5
    assert made == []
    assert late["a"] == late.get("a") == ChainMap({}, late)["a"] == 10
    assert made == [1]
    with pytest.raises(KeyError):
        late["c"]


@pytest.mark.parametrize(
    "whole",
    [
        dict,
        lambda late: {**late},
        lambda late: dict((), **late),
        lambda late: dict(late.items()),
        lambda late: dict(zip(late.keys(), late.values(), strict=True)),
        lambda late: dict(ChainMap({}, late)),
        lambda late: {} | late,
        lambda late: late | {},
        copy.copy,
        Late.copy,
    ],
)
def test_whoever_reads_it_as_a_whole_finds_all_members(late: Late, whole: Callable[[Any], Any]) -> None:
    late["a"]
    assert whole(late) == WHOLE


def test_its_members_hide_those_of_what_it_is_added_to_and_what_is_set_later_hides_them(
    late: Late, made: list[int]
) -> None:
    late["own"] = "own"
    context = Late({}, None)
    context.update({"a": 1, "c": 3}, own="another")
    context.update(late)
    assert made == [] and (context["a"], context["c"], context["own"]) == (10, 3, "own")
    context["b"] = 7
    assert dict(context) == {"a": 10, "b": 7, "c": 3, "own": "own"}
    del context["b"]
    assert "b" not in context and late["b"] == 20


def test_a_mapping_is_made_when_somebody_looks_and_once() -> None:
    made = []

    def make() -> dict[str, int | None]:
        made.append(1)
        return {"a": 10, "b": None}

    late = LateMapping(make)
    assert made == []
    assert "a" in late and "c" not in late and late["a"] == 10 and late.get("b", 5) is None
    assert dict(late) == {"a": 10, "b": None} and len(late) == 2
    assert made == [1]
