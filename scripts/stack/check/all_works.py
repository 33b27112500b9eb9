"""./check_all_works.sh: checks that every service does its job; one line each."""

import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape

from stack.check import exact, probes
from stack.errors import StackError
from stack.table.services import Context

Probe = Callable[[Context], Iterator[str]]

# (the claim, its probe). The probe yields its waits, and at last its result.
PROBES: tuple[tuple[str, Probe], ...] = (
    ("services run", probes.services_run),
    ("source answers", probes.source_answers),
    ("warehouse answers", probes.warehouse_answers),
    ("rights are those of the file", probes.rights_are_those_of_the_file),
    ("journals fit what is there", probes.journals_fit),
    ("DAGs are green", probes.dags_are_green),
    ("dead runs are closed", probes.dead_runs_are_closed),
    ("webhook is healthy and guarded", probes.webhook_is_healthy_and_guarded),
    ("raw holds what was loaded", probes.raw_holds_what_was_loaded),
    ("marts agree with raw", probes.marts_agree_with_raw),
    ("Superset answers on the marts", probes.superset_answers),
    ("source since the last load", probes.source_moved_on),
)
COLORS = {"ok": "green", "FAIL": "bold red", "wait": "yellow"}


class _Lines:
    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, word: str, what: str, seen: str) -> None:
        color = COLORS[word]
        self._console.print(f"[{color}]{word:4}[/{color}]  {escape(what):31} {escape(seen)}")


def check(context: Context, *, verified: str | None = None) -> int:
    """Runs every probe and prints its line; returns 0 if all hold, else 1. A failing probe does not stop the others.

    With `verified`, the exit code and output of the loader's comparison, it runs the probes of --exact instead of the usual ones.
    """
    lines = _Lines()
    began = time.monotonic()
    results: list[bool] = []
    chosen = PROBES
    if verified is not None:
        chosen = (
            ("raw equals Postgres", lambda _: exact.raw_equals_postgres(verified)),
            ("marts equal Postgres", exact.marts_equal_postgres),
        )
    for what, probe in chosen:
        results.append(_run(lines, context, what, probe))
    failed = results.count(False)
    seconds = time.monotonic() - began
    if failed:
        print(
            f"{failed} of {len(results)} checks failed ({seconds:.0f} s). Start with the first; scripts/logs SERVICE shows a log."
        )
        return 1
    print(f"All {len(results)} checks hold ({seconds:.0f} s).")
    return 0


def _run(lines: _Lines, context: Context, what: str, probe: Probe) -> bool:
    seen = ""
    said_at = 0.0
    try:
        for word in probe(context):
            # All words except the last describe waits.
            if seen and time.monotonic() - said_at > 5:
                lines.say("wait", what, seen)
                said_at = time.monotonic()
            seen = word
    except (StackError, *probes.FAILURES) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        lines.say("FAIL", what, said[0])
        return False
    lines.say("ok", what, seen)
    return True
