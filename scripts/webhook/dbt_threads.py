"""Two nodes at a time: while one waits for the warehouse the other does its Python.

What the warehouse is asked stays the same, and so does how long it takes for it: of the statements that read or write rows
there is one at a time, as with one thread. Where another version of dbt has no such names, dbt goes on as it does by
itself. `dbt_host.py` loads this file by its path.
"""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

_NODES = 2
# Seconds until a thread that has its answer may go on while another computes; Python's own 5 ms are as long as a statement.
_SWITCH = 0.0005
# Comments may stand before the first word. What the server knows of its tables is no rows.
_ROWS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:insert|(?:select|with)\b(?!.*\bfrom\s+system\.))", re.IGNORECASE | re.DOTALL
)


def overlap_nodes() -> None:
    """For a process that forks those that run dbt, once."""
    with contextlib.suppress(ImportError, AttributeError):
        turns = Turns()
        _ask_in_turn(turns)
        _count_without_waiting(turns)
        _run_two_nodes(turns)


def run_threads() -> None:
    """For a process that is about to run dbt, once."""
    sys.setswitchinterval(_SWITCH)


class Turns:
    """Lets statements into the warehouse: those that read or write rows one after the other, any other beside them.

    Two of the first kind would wait for each other's cores, and take half as long again for whoever reads meanwhile.
    """

    def __init__(self) -> None:
        # Of a thread's own: a statement within a statement must not wait for it.
        self._turn = threading.RLock()
        self._waited: dict[int, float] = {}
        self._is_lifted = False

    def lift(self) -> None:
        """From now on let all in at once."""
        self._is_lifted = True

    @contextlib.contextmanager
    def turn(self, sql: str) -> Iterator[None]:
        if self._is_lifted or not _ROWS.match(sql):
            yield
            return
        me, came = threading.get_ident(), time.monotonic()
        with self._turn:
            self._waited[me] = self._waited.get(me, 0.0) + time.monotonic() - came
            yield

    def count_waiting(self) -> float:
        """Seconds that this thread has waited for its turn since it last asked this."""
        return self._waited.pop(threading.get_ident(), 0.0)


def _ask_in_turn(turns: Turns) -> None:
    from dbt.adapters.clickhouse.httpclient import ChHttpClient

    def in_turn(ask: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(ask)
        def ask_in_turn(self: Any, sql: str, *arguments: Any, **named: Any) -> Any:
            with turns.turn(sql):
                return ask(self, sql, *arguments, **named)

        return ask_in_turn

    asked = {name: getattr(ChHttpClient, name) for name in ("query", "command")}
    for name, ask in asked.items():
        setattr(ChHttpClient, name, in_turn(ask))


def _count_without_waiting(turns: Turns) -> None:
    """The seconds of a node are its own: who looks for the slow one must not find its neighbour."""
    from dbt.task.base import BaseRunner

    run, build = BaseRunner.safe_run, BaseRunner._build_run_result

    def run_node(self: Any, *arguments: Any, **named: Any) -> Any:
        turns.count_waiting()
        return run(self, *arguments, **named)

    def build_result(self: Any, *arguments: Any, **named: Any) -> Any:
        if "start_time" in named:
            named["start_time"] += turns.count_waiting()
        return build(self, *arguments, **named)

    BaseRunner.safe_run, BaseRunner._build_run_result = run_node, build_result


def _run_two_nodes(turns: Turns) -> None:
    """With `threads: 1`. Who has asked for more gets as many, with all their statements at once."""
    from dbt.task import runnable

    make = runnable.DbtThreadPool

    def pool(threads: int, *rest: Any) -> Any:
        if threads == 1:
            return make(_NODES, *rest)
        turns.lift()
        return make(threads, *rest)

    runnable.DbtThreadPool = pool
