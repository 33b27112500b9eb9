"""The engine's own parser against the server's rules: a call that the engine sees must never be hidden from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

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


def _escaped(value: str) -> str:
    pairs = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"))
    for raw, escaped in pairs:
        value = value.replace(raw, escaped)
    return value
