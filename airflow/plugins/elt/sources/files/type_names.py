"""Names of the ClickHouse types that columns of files have."""

from __future__ import annotations

import re

from elt.mapping import WIDEST_DECIMAL

INSTANT = "DateTime64(6, 'UTC')"
_PLAIN = ("String", "Bool", "Int64", "Float64", "Date32", INSTANT)
_DECIMAL = re.compile(r"Decimal\((\d+), ?(\d+)\)")
_LISTED = f"{', '.join(_PLAIN)} and Decimal(p, s)"


def type_problem(text: str) -> str:
    """Returns why `types:` cannot name this type, as a sentence; empty if it can."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return (
            "" if type_spelled(text) in _PLAIN else f"{text!r} is no type for a column of files; take one of {_LISTED}"
        )
    precision, scale = int(match[1]), int(match[2])
    if not (1 <= precision <= WIDEST_DECIMAL and scale <= precision):
        return f"{text} is no type; p is from 1 to {WIDEST_DECIMAL}, and s from 0 to p"
    return ""


def type_spelled(text: str) -> str:
    """Returns a type as ClickHouse prints it."""
    if match := _DECIMAL.fullmatch(text):
        return f"Decimal({int(match[1])}, {int(match[2])})"
    return INSTANT if text.replace(" ", "") == INSTANT.replace(" ", "") or text == "DateTime64" else text


def precision_and_scale(name: str) -> tuple[int, int]:
    """Returns p and s of a Decimal(p, s)."""
    match = _DECIMAL.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no Decimal")
    return int(match[1]), int(match[2])
