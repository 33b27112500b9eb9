"""The engine's own parser against the server's rules: a call that the engine sees must never be hidden from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

PIECES = (
    ["'", '"', "`", "''", "\\", "\\'", "$", "$$", "$a$", "$ $", "\u2018", "\u2019", "\u201c", "\u201d", "\u2212"]
    + ["/*", "*/", "--", "//", "#", "# ", "#!", "\n", "\r", " ", "\t", "\u00a0", "\ufeff", "\u180e", "\0", "\x0b"]
    + ["(", ")", ",", ";", "1", "1e5", ".5", "0x", "_", "a", "AS", "x", "[", "]", "{", "}", ":", "->", "%", "@", "^"]
)
FILE = "file('/etc/hostname')"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=3).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
)
@example("1 /* /* */ ' */,", "", "--'")
@example("$a$ ' $a$,", "", ",$a$ ' $a$")
@example("$ ' $,", "", ",$ ' $")
@example("'\\\\',", "/**/", "")
@example("1 -- '\r", "\r", "'")
def test_no_call_of_file_is_hidden(api: Callable[[str], Any], before: str, inside: str, after: str) -> None:
    sql = f"SELECT {before} {FILE.replace('(', inside + '(', 1)} {after}"
    canonical = api("default").call(
        "SELECT formatQuerySingleLineOrNull({q:String}) FORMAT TSVRaw", param_q=_escaped(sql)
    )
    assert canonical.status == 200, canonical.text
    # Outside of strings and quoted names the canonical text has the call as it is.
    bare = re.sub(r"'(?:[^'\\]|\\.)*'", "''", canonical.text)
    answer = api("superset").call(sql)
    if "file('')" in re.sub(r"`(?:[^`\\]|\\.)*`", "", bare):
        assert answer.code is not None, f"{sql!r} reached the engine"
    assert "vm" not in answer.text or answer.code is not None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 AS $x$", "1"),
        ("SELECT 1 AS $x", "1"),
        ("SELECT 1 AS $x$y", "1"),
        ("SELECT 1 AS x$y$", "1"),
        ("SELECT x$y$ FROM (SELECT 2 AS x$y$)", "2"),
        ("SELECT $x$ a ' $x$", " a \\' "),
        ("SELECT $x$y$x$", "y"),
        ("SELECT $1$ x $1$", " x "),
        ("SELECT $$ a $$", " a "),
        ("SELECT 1 AS $x$, $y$ ' $y$", "1\t \\' "),
        ("SELECT 1 AS $x$y$x$", None),
        ("SELECT $x$ FROM (SELECT 1 AS $x$)", None),
        ("SELECT $a b$ c $a b$", None),
        ("SELECT 1 AS $x$, $x$", None),
        ("SELECT $-$ c $-$", None),
        ("SELECT 1 AS $", None),
        ("SELECT 1 AS $$", None),
        ("SELECT 1 AS $$x", None),
    ],
)
def test_dollar_begins_a_heredoc_or_a_name_as_the_engine_says(admin: Any, sql: str, expected: str | None) -> None:
    taken = admin.call("SELECT formatQuerySingleLineOrNull({q:String}) IS NOT NULL", param_q=_escaped(sql)).text
    answer = admin.call(sql)
    assert (taken, answer.text if answer.status == 200 else None) == (
        ("0\n", None) if expected is None else ("1\n", f"{expected}\n")
    )


def test_dollar_name_of_a_parameter(admin: Any) -> None:
    assert admin.call("SELECT {$x$:Int32} + {x$y$:Int32}", **{"param_$x$": 5, "param_x$y$": 6}).text == "11\n"


def _escaped(value: str) -> str:
    pairs = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"))
    for raw, escaped in pairs:
        value = value.replace(raw, escaped)
    return value
