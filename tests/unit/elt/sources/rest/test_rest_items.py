"""Items are stored as they were sent; what is dropped or masked is nowhere."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from elt.sources.rest.items import Filter
from testing.demo_api.server import Fault
from warehouse.errors import TerminalError


@pytest.mark.parametrize(
    "item",
    [
        '{"price":109.950}',
        '{"price":1234567890123456789.10,"n":98765432109876543210}',
        '{"e":1E400,"z":-0.0}',
        '{"t":"\\u00fc \u2028 \\n \\"x\\" \\\\"}',
        '{"b":1,"a":2,"a":3}',
        '{ "spaces" : [ 1 ,\t2 ] }',
        "{}",
        "[1,2]",
        '"text"',
    ],
)
def test_an_item_is_stored_exactly_as_it_was_sent(api: Any, item: str) -> None:
    api.demo.faults = [Fault("text", 200, {}, f"[{item},\r\n {item}]".encode())]
    assert api.items(api.fetch({"path": "/x"})) == [item, item]


def test_ends_of_lines_between_the_keys_become_blanks(api: Any) -> None:
    api.demo.faults = [Fault("text", 200, {}, b'[\n  {\r\n    "id": 1.0\n  }\n]')]
    assert api.items(api.fetch({"path": "/x"})) == ['{      "id": 1.0   }']


@pytest.mark.parametrize(
    ("drop", "mask", "item", "stored"),
    [
        (["password"], [], '{"id":1.0,"password":"x"}', '{"id":1.0}'),
        (["password"], [], '{"pass\\u0077ord":"x","n":1e5}', '{"n":1e5}'),
        (["a.b"], [], '{"a":{"b":1,"c":2.10}}', '{"a":{"c":2.10}}'),
        (["a.b"], [], '{"a":[{"b":1},{"c":2,"b":3}]}', '{"a":[{},{"c":2}]}'),
        (["a.b"], [], '{"a":"text"}', '{"a":"text"}'),
        (["a"], [], '[{"a":1},{"b":2}]', '[{},{"b":2}]'),
        ([], ["email"], '{"email":null}', '{"email":null}'),
        ([], ["email"], '{"email":"ü"}', f'{{"email":"{hashlib.sha256("saltü".encode()).hexdigest()}"}}'),
        ([], ["n"], '{"n":1.50}', f'{{"n":"{hashlib.sha256(b"salt1.50").hexdigest()}"}}'),
    ],
)
def test_keys_are_dropped_and_masked(drop: list[str], mask: list[str], item: str, stored: str) -> None:
    assert Filter(drop, mask, "salt")(item.encode()).decode() == stored


def test_a_mask_without_a_salt_is_refused_before_anything_is_asked(api: Any) -> None:
    with pytest.raises(TerminalError, match="MASK_SALT is empty"):
        api.fetch({"path": "/users", "mask": ["email"]}, salt="")
    assert not api.demo.seen


def test_what_is_dropped_is_in_no_object(api: Any) -> None:
    manifest = api.fetch({"path": "/users", "drop": ["password"]})
    assert manifest.items == 10 and not any("secret" in item for item in api.items(manifest))
    assert all(json.loads(item)["username"] for item in api.items(manifest))
